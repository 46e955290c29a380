//! Bridges and ports through the database.

use selvage_host::{Netlink, Veth};
use selvage_ovs::ovsdb::{BridgeSpec, Client, OvsdbError, PortKind, PortSpec};
use selvage_ovs::unixctl::Control;

use crate::rig::{BRIDGE, Rig, TIMEOUT, spec};

#[test]
fn a_bridge_is_made_once_and_removed() {
    let rig = Rig::bare();
    let mut database = rig.database();
    assert!(database.ensure_bridge(&spec("h")).unwrap());
    assert!(!database.ensure_bridge(&spec("h")).unwrap());
    let version = database.version().unwrap();
    assert!(version.datapaths.contains(&"netdev".to_owned()));
    assert!(version.interfaces.contains(&"vxlan".to_owned()));
    database.note(BRIDGE, "selvage-revision", "12").unwrap();
    assert_eq!(database.notes(BRIDGE).unwrap()["selvage-revision"], "12");
    assert!(!database.ensure_bridge(&spec("h")).unwrap());
    assert_eq!(database.notes(BRIDGE).unwrap().len(), 2);
    database.remove_bridge(BRIDGE, "h").unwrap();
    database.remove_bridge(BRIDGE, "h").unwrap();
    assert_eq!(
        database.notes(BRIDGE).unwrap_err(),
        OvsdbError::NoBridge { name: BRIDGE.to_owned() }
    );
    assert!(!rig.socket().exists());
}

#[test]
fn a_bridge_of_somebody_else_is_never_touched() {
    let rig = Rig::bare();
    let socket = format!("--db=unix:{}", rig.ovs.database().display());
    let theirs = ["add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev"];
    rig.ovs.tool("ovs-vsctl", &[&[&*socket][..], &theirs].concat()).unwrap();
    let mut database = rig.database();
    let taken = OvsdbError::BridgeTaken { name: BRIDGE.to_owned(), owner: None };
    let before = rig.ovs.tool("ovs-vsctl", &[&socket, "list", "bridge"]).unwrap();
    assert_eq!(database.ensure_bridge(&spec("h")).unwrap_err(), taken);
    assert_eq!(database.remove_bridge(BRIDGE, "h").unwrap_err(), taken);
    assert_eq!(rig.ovs.tool("ovs-vsctl", &[&socket, "list", "bridge"]).unwrap(), before);
    // Nor that of another of us.
    let other = BridgeSpec { name: "svbr2".into(), ..spec("other") };
    database.ensure_bridge(&other).unwrap();
    let error = database.ensure_bridge(&BridgeSpec { owner: "h".into(), ..other }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bridge `svbr2` belongs to other; it was not touched; hint: choose another name"
    );
    // Nor is a port taken away from it.
    database.ensure_port("svbr2", &PortSpec::vxlan("svx", 4789)).unwrap();
    database.ensure_bridge(&BridgeSpec { name: "svbr3".into(), ..spec("h") }).unwrap();
    let error = database.ensure_port("svbr3", &PortSpec::vxlan("svx", 4789)).unwrap_err();
    assert_eq!(error, OvsdbError::PortTaken { name: "svx".to_owned() });
}

#[test]
fn ports_get_numbers_or_say_why_not() {
    let rig = Rig::new();
    let mut netlink = Netlink::open_in(&rig.namespace).unwrap();
    let veth = Veth {
        name: "svp1",
        mac: None,
        peer: "svp1x",
        peer_mac: None,
        peer_namespace: None,
        mtu: 1450,
        group: 0,
    };
    let index = netlink.create_veth(&veth).unwrap();
    let mut database = rig.database();
    let number = database.ensure_port(BRIDGE, &PortSpec::system("svp1")).unwrap();
    assert_eq!(database.ensure_port(BRIDGE, &PortSpec::system("svp1")).unwrap(), number);
    let wanted = PortSpec { number: Some(40), ..PortSpec::vxlan("svtun", 4790) };
    assert_eq!(database.ensure_port(BRIDGE, &wanted).unwrap(), 40);
    let internal = PortSpec { kind: PortKind::Internal, ..PortSpec::system("svin") };
    database.ensure_port(BRIDGE, &internal).unwrap();
    let ports = database.ports(BRIDGE).unwrap();
    let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
    assert_eq!(names, [BRIDGE, "svin", "svp1", "svtun"]);
    assert_eq!((ports[2].number, ports[2].ifindex), (Some(number), Some(index)));
    assert_eq!((ports[3].kind.as_str(), ports[3].options["dst_port"].as_str()), ("vxlan", "4790"));
    let mut connection = rig.bridge();
    let desc = connection.ports().unwrap();
    assert!(desc.iter().any(|port| port.name == "svtun" && port.number == 40), "{desc:?}");

    let missing = database.ensure_port(BRIDGE, &PortSpec::system("svnone")).unwrap_err();
    assert!(
        matches!(&missing, OvsdbError::PortFailed { cause, .. } if cause.contains("No such device")),
        "{missing}"
    );
    assert_eq!(database.ports(BRIDGE).unwrap().len(), 4);
    database.remove_port(BRIDGE, "svp1").unwrap();
    database.remove_port(BRIDGE, "svp1").unwrap();
    assert_eq!(database.ports(BRIDGE).unwrap().len(), 3);
}

#[test]
fn a_switch_that_is_not_there_is_named() {
    let mut rig = Rig::new();
    rig.ovs.kill_switch().unwrap();
    let short = std::time::Duration::from_millis(500);
    let mut database = Client::connect(&rig.ovs.database(), short).unwrap();
    let other = BridgeSpec { name: "svbr9".into(), ..spec("h") };
    let error = database.ensure_bridge(&other).unwrap_err();
    assert!(matches!(error, OvsdbError::NotApplied { .. }), "{error}");
    rig.ovs.kill_database().unwrap();
    assert!(matches!(database.echo().unwrap_err(), OvsdbError::Broken { .. }));
    let error = Client::connect(&rig.ovs.database(), short).unwrap_err();
    assert!(matches!(error, OvsdbError::Connect { .. }), "{error}");
}

#[test]
fn the_daemon_answers_commands() {
    let rig = Rig::new();
    let found = Control::find(rig.ovs.folder()).unwrap();
    assert_eq!(found, rig.ovs.control());
    let mut control = Control::connect(&found, TIMEOUT).unwrap();
    assert!(control.run("version", &[]).unwrap().contains("Open vSwitch"));
    let trace = control.run("ofproto/trace", &[BRIDGE, "in_port=LOCAL"]).unwrap();
    assert!(trace.contains("Final flow"), "{trace}");
    let error = control.run("ofproto/trace", &["nobr", "in_port=1"]).unwrap_err();
    assert!(error.to_string().contains("refused `ofproto/trace nobr in_port=1`"), "{error}");
    assert!(Control::connect(&rig.ovs.folder().join("none"), TIMEOUT).is_err());
}
