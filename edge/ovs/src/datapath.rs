//! Puts a [`Desired`] into a bridge, as one bundle; reads back what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use selvage_agent::datapath::{
    Applied, Counters, Datapath, Drift, DropSource, Installed, PlaneError, Port, Swept, Usage,
};
use selvage_agent::judge::{Case, Opinions};
use selvage_rules::{Desired, Encapsulation};

use crate::config::Config;
use crate::difference::{Flows, difference};
use crate::events::{Events, set_meters};
use crate::exits::{self, Exits};
use crate::failure::{Doing, Failed, refused};
use crate::judge::{Flowed, Rehearsal};
use crate::lower::{Bridge, Key, lower, revision_of, zones};
use crate::openflow::{Change, Connection, FlowFilter, FlowStats};
use crate::ovsdb::{BridgeSpec, Client, PortRow, PortSpec};
use crate::tables::{Stage, cookie};
use crate::underlay::{Underlay, VXLAN_PORT};
use crate::unixctl::{Control, ControlError};

type Result<T> = std::result::Result<T, PlaneError>;

/// How long the switch may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the switch may take to go over its flows before it is provoked again.
const AGAIN: Duration = Duration::from_millis(50);

/// How often the neighbours that lead to other hosts are asked for again.
const MEET: Duration = Duration::from_secs(30);

/// The data plane of a host that runs Open vSwitch.
pub struct Ovs {
    config: Config,
    live: Option<Live>,
    /// What is to be in force, to put it back when the switch comes back without it.
    wanted: Option<Desired>,
    /// Addresses of endpoints, with their zones in the connection tracker, by the index of their link.
    tracked: BTreeMap<u32, BTreeSet<(u16, IpAddr)>>,
    streaming: bool,
}

/// What is held while the switch is there.
struct Live {
    database: Client,
    bridge: Connection,
    underlay: Option<Underlay>,
    control: Control,
    exits: Exits,
    tunnel_port: u32,
    /// The bridge's flows; `None`: to be read.
    held: Option<Flows>,
    met: Option<Instant>,
}

impl Ovs {
    /// Makes the bridge, or takes over what is there, in force all the while. To be called in the
    /// network namespace that the switch is in.
    pub fn open(config: Config) -> Result<Ovs> {
        if config.bridge.is_empty() || config.bridge.len() > 13 {
            let cause = "1 to 13 bytes, since two more links are named after it";
            return Err(refused(&format!("name a bridge `{}`", config.bridge), cause));
        }
        let live = Some(Live::open(&config)?);
        Ok(Ovs { config, live, wanted: None, tracked: BTreeMap::new(), streaming: false })
    }

    /// The flows of the bridge.
    pub fn flows(&mut self) -> Result<Vec<FlowStats>> {
        self.live()?.bridge.flows(&FlowFilter::default()).doing("read the bridge's flows")
    }

    /// What lowering has to know of the bridge.
    pub fn bridge(&mut self) -> Result<Bridge> {
        let rows = self.rows()?;
        self.bridge_of(&rows)
    }

    fn bridge_of(&mut self, rows: &[PortRow]) -> Result<Bridge> {
        let tunnel = self.config.tunnel;
        let ports = rows.iter().filter_map(|row| Some((row.ifindex?, row.number?))).collect();
        let tunnel_port = self.live()?.tunnel_port;
        Ok(Bridge { ports, tunnel_port, exits: exits::numbers(rows), tunnel })
    }

    fn rows(&mut self) -> Result<Vec<PortRow>> {
        let name = self.config.bridge.clone();
        self.live()?.database.ports(&name).doing("read the bridge's ports")
    }

    /// The switch, connected to again if it was gone.
    fn live(&mut self) -> Result<&mut Live> {
        if self.live.as_ref().is_some_and(|live| !live.is_open()) {
            self.live = None;
        }
        if self.live.is_none() {
            self.live = Some(Live::open(&self.config)?);
        }
        self.live.as_mut().ok_or_else(|| refused("connect to Open vSwitch", "it is not there"))
    }

    /// Remembers whose connections are tracked where.
    fn remember(&mut self, desired: &Desired) {
        let zones = zones(desired);
        for local in desired.locals.values() {
            let Some(endpoint) = &local.endpoint else { continue };
            let domain = desired.table.bridge_domains.get(&endpoint.bd);
            let Some(zone) = domain.and_then(|domain| zones.get(&domain.scope)) else { continue };
            let held = self.tracked.entry(local.ifindex).or_default();
            held.extend(endpoint.ips.iter().map(|ip| (*zone, *ip)));
        }
    }

    /// Has the tracker forget the connections of the endpoint that had this link.
    ///
    /// The command takes a part of a connection's addresses only without the datapath's name
    /// (observed with 3.1), and refuses where there is more than one datapath. Then they end by
    /// themselves: what they are worth is asked of the rules at every packet.
    fn forget(&mut self, ifindex: u32, doing: &str) -> Result<()> {
        for (zone, ip) in self.tracked.remove(&ifindex).unwrap_or_default() {
            let zone = format!("zone={zone}");
            let (src, dst) = match ip {
                IpAddr::V4(_) => ("ct_nw_src", "ct_nw_dst"),
                IpAddr::V6(_) => ("ct_ipv6_src", "ct_ipv6_dst"),
            };
            for end in [src, dst] {
                let tuple = format!("{end}={ip}");
                let control = &mut self.live()?.control;
                match control.run("dpctl/flush-conntrack", &[&zone, &tuple]) {
                    Ok(_) | Err(ControlError::Refused { .. }) => {}
                    Err(error) => return Err(refused(doing, error)),
                }
            }
        }
        Ok(())
    }

    fn install(&mut self, desired: &Desired) -> Result<Applied> {
        let (name, bytes) = (self.config.bridge.clone(), self.reads_bytes());
        let mut rows = self.rows()?;
        let live = self.live()?;
        if live.exits.take(desired, &rows, &mut live.database, &name, bytes)? {
            rows = self.rows()?;
        }
        let bridge = self.bridge_of(&rows)?;
        let lowered = lower(desired, &bridge).map_err(|error| Failed::from(error).0)?;
        let live = self.live()?;
        let held = live.held()?;
        let changes = difference(held, &lowered.flows);
        // Until it is known what came of it.
        live.held = None;
        live.bridge.apply(&changes).doing("change the bridge's flows")?;
        if !changes.is_empty() {
            live.settle(&lowered.flows)?;
        }
        live.held = Some(lowered.flows);
        live.exits.release(desired, &rows, &mut live.database, &name)?;
        live.meet(desired)?;
        let (revision, changed) = (desired.revision, changes.len() as u64);
        Ok(Applied { revision, changed, unsupported: lowered.unsupported })
    }
}

impl Live {
    fn open(config: &Config) -> Result<Live> {
        let tunnel = config.tunnel;
        let mut database = Client::connect(&config.database, PATIENCE).doing("connect")?;
        // Before anything is changed: the database would wait long for a daemon that is not there.
        let control = control(config)?;
        let spec = BridgeSpec {
            name: config.bridge.clone(),
            owner: config.owner.clone(),
            datapath: config.datapath.clone(),
        };
        let doing = format!("make bridge `{}`", config.bridge);
        database.ensure_bridge(&spec).doing(&doing)?;
        let underlay = match &config.underlay {
            Some(link) => Some(Underlay::open(config, link, tunnel, &mut database, PATIENCE)?),
            None => None,
        };
        let mut port = PortSpec::vxlan(&config.tunnel_port(), VXLAN_PORT);
        port.options.insert("local_ip".to_owned(), tunnel.to_string());
        let tunnel_port = database.ensure_port(&config.bridge, &port).doing(&doing)?;
        let mut bridge =
            Connection::open(&config.socket(&config.bridge), PATIENCE).doing(&doing)?;
        set_meters(&mut bridge).doing("limit drop events")?;
        let exits = Exits::default();
        Ok(Live { database, bridge, underlay, control, exits, tunnel_port, held: None, met: None })
    }

    fn is_open(&self) -> bool {
        self.bridge.is_open() && self.underlay.as_ref().is_none_or(Underlay::is_open)
    }

    /// Waits until packets meet the flows as they are: the switch has what it did with each kind of
    /// packet by heart, and goes over that in threads of its own.
    ///
    /// It says when such a round ends; but what we changed may have been gone over already by the
    /// time we ask, and the next round is half a second away (ovs-vswitchd.conf.db(5),
    /// `max-revalidator`). So another round is provoked while we wait, by a change that changes
    /// nothing. And the round that ends first may have begun before our change: the one after it
    /// has not.
    fn settle(&mut self, flows: &Flows) -> Result<()> {
        let doing = "wait for the switch to take over its flows";
        let mark = flows.values().find(|flow| flow.table == Stage::Mark.table());
        let again: Vec<Change> = mark.cloned().map(Change::SetActions).into_iter().collect();
        for _ in 0..2 {
            let Live { control, bridge, .. } = self;
            let provoke = || bridge.apply(&again);
            let waited = control.run_while("revalidator/wait", AGAIN, provoke).doing(doing)?;
            waited.map_err(|error| refused(doing, error))?;
        }
        Ok(())
    }

    fn held(&mut self) -> Result<&Flows> {
        if self.held.is_none() {
            let doing = "read the bridge's flows";
            let stats = self.bridge.flows(&FlowFilter::default()).doing(doing)?;
            let flows = stats.into_iter().map(|stats| (Key::of(&stats.flow), stats.flow));
            self.held = Some(flows.collect());
        }
        Ok(self.held.get_or_insert_default())
    }

    fn meet(&mut self, desired: &Desired) -> Result<()> {
        let Some(underlay) = &mut self.underlay else { return Ok(()) };
        self.met = Some(Instant::now());
        underlay.meet(desired.tunnels.keys().copied())
    }
}

impl Datapath for Ovs {
    fn name(&self) -> &'static str {
        "ovs"
    }

    fn encapsulations(&self) -> BTreeSet<Encapsulation> {
        [Encapsulation::EpgVni].into()
    }

    fn reads_bytes(&self) -> bool {
        self.config.datapath == "netdev"
    }

    fn attach_port(&mut self, port: &Port) -> Result<()> {
        isolate(&port.name)?;
        let name = self.config.bridge.clone();
        let doing = format!("take hold of link `{}`", port.name);
        let spec = PortSpec::system(&port.name);
        self.live()?.database.ensure_port(&name, &spec).doing(&doing).map(drop)
    }

    fn detach_port(&mut self, port: &Port) -> Result<()> {
        let name = self.config.bridge.clone();
        let doing = format!("let go of link `{}`", port.name);
        self.live()?.database.remove_port(&name, &port.name).doing(&doing)?;
        self.forget(port.ifindex, &doing)
    }

    fn apply(&mut self, desired: &Desired) -> Result<Applied> {
        let applied = self.install(desired)?;
        self.remember(desired);
        self.wanted = Some(desired.clone());
        Ok(applied)
    }

    fn installed(&mut self) -> Result<Installed> {
        let (name, tunnel) = (self.config.bridge.clone(), self.config.tunnel_port());
        let rows = self.rows()?;
        let live = self.live()?;
        let is_ours = |row: &&PortRow| {
            row.name != name && row.name != tunnel && exits::scope_of(&row.name).is_none()
        };
        let ports = rows
            .iter()
            .filter(is_ours)
            .map(|row| Port { ifindex: row.ifindex.unwrap_or_default(), name: row.name.clone() });
        let held = live.held()?.values();
        let mark = held.filter(|flow| flow.table == Stage::Mark.table());
        let revision = mark.map(|flow| revision_of(flow.cookie)).next();
        Ok(Installed { ports: ports.collect(), revision })
    }

    fn audit(&mut self, desired: &Desired) -> Result<Vec<Drift>> {
        let bridge = self.bridge()?;
        let lowered = lower(desired, &bridge).map_err(|error| Failed::from(error).0)?;
        let stats = self.flows()?;
        let held: Flows =
            stats.into_iter().map(|stats| (Key::of(&stats.flow), stats.flow)).collect();
        let of = |flows: &Flows, table: u8| -> Flows {
            let own = flows.iter().filter(|(key, _)| key.table == table);
            own.map(|(key, flow)| (key.clone(), flow.clone())).collect()
        };
        let tables: BTreeSet<u8> =
            held.keys().chain(lowered.flows.keys()).map(|key| key.table).collect();
        let drift = tables.into_iter().filter_map(|table| {
            let name = Stage::of_table(table).map_or("unknown", Stage::name);
            Drift::between(name, &of(&held, table), &of(&lowered.flows, table))
        });
        Ok(drift.collect())
    }

    fn counters(&mut self) -> Result<Counters> {
        let mut counters = Counters::default();
        let stats = self.flows()?;
        for FlowStats { flow, packets, bytes, .. } in &stats {
            if flow.table == Stage::Mark.table() || !cookie::is_current(flow.cookie) {
                continue;
            }
            if let Some(rule) = cookie::rule_of(flow.cookie) {
                let count = counters.rules.entry(rule).or_default();
                count.packets += packets;
                count.bytes += bytes;
            }
            let reason = cookie::reason_of(flow.cookie);
            if let Some(reason) = reason.filter(|_| *packets > 0) {
                let count = counters.reasons.entry(reason).or_default();
                count.packets += packets;
                count.bytes += bytes;
            }
        }
        let flows = Usage { used: stats.len() as u64, limit: 1_000_000 };
        counters.tables = BTreeMap::from([("flows".to_owned(), flows)]);
        Ok(counters)
    }

    fn drops(&mut self) -> Result<Box<dyn DropSource>> {
        if std::mem::replace(&mut self.streaming, true) {
            return Err(refused("read drop events", "somebody reads them already"));
        }
        let socket = self.config.socket(&self.config.bridge);
        Ok(Box::new(Events::open(&socket).doing("read drop events")?))
    }

    /// The switch forgets connections by itself. What it does not do by itself is to come back with
    /// its flows.
    fn sweep(&mut self, _now: Duration) -> Result<Swept> {
        let was_there = self.live.as_ref().is_some_and(Live::is_open);
        let Some(wanted) = self.wanted.take() else { return Ok(Swept::default()) };
        let done = if was_there {
            let live = self.live()?;
            let due = live.met.is_none_or(|met| met.elapsed() >= MEET);
            if due { live.meet(&wanted) } else { Ok(()) }
        } else {
            self.install(&wanted).map(drop)
        };
        self.wanted = Some(wanted);
        done.map(|()| Swept::default())
    }

    fn judge(&mut self, case: &Case) -> Result<Opinions> {
        let bridge = self.bridge()?;
        let flows: Flows =
            self.flows()?.into_iter().map(|stats| (Key::of(&stats.flow), stats.flow)).collect();
        let lowered = Flowed::new(&flows, &bridge).judge(case)?;
        let name = self.config.bridge.clone();
        let control = &mut self.live()?.control;
        let live = Rehearsal { control, name: &name, bridge: &bridge }.judge(case)?;
        Ok(Opinions { lowered, live })
    }

    fn flush(&mut self) -> Result<()> {
        self.wanted = None;
        remove(&self.config)?;
        self.live = None;
        Ok(())
    }
}

/// Removes the bridges of the agent that `config` names, with all that is in them; nothing else.
pub fn remove(config: &Config) -> Result<()> {
    let mut database = Client::connect(&config.database, PATIENCE).doing("connect")?;
    for name in [config.bridge.clone(), config.underlay_bridge()] {
        let doing = format!("remove bridge `{name}`");
        database.remove_bridge(&name, &config.owner).doing(&doing)?;
    }
    Ok(())
}

/// The control socket of the switch daemon.
fn control(config: &Config) -> Result<Control> {
    let folder = config.database.parent().unwrap_or(Path::new("/"));
    let doing = "reach the control socket of ovs-vswitchd";
    let socket = Control::find(folder)
        .ok_or_else(|| refused(doing, "there is none beside the database's"))?;
    Control::connect(&socket, PATIENCE).map_err(|error| refused(doing, error))
}

/// Keeps the kernel's own stack off a link that Open vSwitch's own datapath shares with it: what the
/// endpoint sends is no reason to answer, to forward, or to take it in.
pub(crate) fn isolate(link: &str) -> Result<()> {
    for (key, value) in
        [("arp_ignore", "8"), ("rp_filter", "1"), ("forwarding", "0"), ("accept_redirects", "0")]
    {
        let path = format!("/proc/sys/net/ipv4/conf/{link}/{key}");
        fs::write(&path, value).doing(&format!("keep the kernel off link `{link}`"))?;
    }
    let path = format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6");
    match fs::write(&path, "1") {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(refused(&format!("keep the kernel off link `{link}`"), error))
        }
        _ => Ok(()),
    }
}
