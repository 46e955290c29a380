//! What was acknowledged stays, however the controller ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::fixture::{Controller, command, equipped_dir, eventually};

fn tenant(name: &str) -> String {
    format!(
        r#"{{"fvTenant":{{"attributes":{{"name":"{name}"}},"children":[
        {{"fvCtx":{{"attributes":{{"name":"main"}}}}}}]}}}}"#
    )
}

#[test]
fn policy_and_numbers_outlive_a_restart() {
    let controller = Controller::start();
    let client = controller.admin();
    for name in ["b", "a"] {
        client.post("/api/mo/uni.json", &tenant(name));
    }
    let read = |client: &super::client::Client| {
        let answer = client.get("/api/class/fvCtx.json?order-by=fvCtx.dn");
        let json = answer.json();
        let list = json["imdata"].as_array().unwrap().clone();
        list.into_iter()
            .map(|mo| {
                let mo = &mo["fvCtx"]["attributes"];
                (mo["dn"].to_string(), mo["scope"].to_string(), mo["modTs"].to_string())
            })
            .collect::<Vec<_>>()
    };
    let before = read(&client);
    assert!(before.iter().any(|(dn, scope, _)| dn.contains("tn-a") && scope != "\"0\""));
    let (status, dir) = controller.stop();
    assert!(status.success());
    let again = Controller::start_in(dir);
    let after = read(&again.admin());
    let ours = |list: &[(String, String, String)]| -> Vec<(String, String, String)> {
        list.iter().filter(|(dn, ..)| !dn.contains("common")).cloned().collect()
    };
    assert_eq!(ours(&after), ours(&before));
}

#[test]
fn a_kill_under_load_loses_no_acknowledged_post() {
    const WRITERS: usize = 4;
    let mut controller = Controller::start();
    let mut expected = Vec::new();
    for round in 0..3 {
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let counter = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (acknowledged, counter) = (acknowledged.clone(), counter.clone());
                let client = controller.admin();
                std::thread::spawn(move || {
                    for number in 0.. {
                        let name = format!("r{round}w{writer}n{number}");
                        let post = || client.post("/api/mo/uni.json", &tenant(&name)).status;
                        // Once the controller is gone, there is no answer.
                        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(post)) {
                            Ok(200) => acknowledged.lock().unwrap().push(name),
                            _ => return,
                        }
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        eventually(|| (counter.load(Ordering::Relaxed) > 30).then_some(()));
        let dir = controller.kill();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        expected.extend(acknowledged.lock().unwrap().drain(..));
        controller = Controller::start_in(dir);
    }
    let client = controller.admin();
    let json = client.get("/api/class/fvTenant.json?rsp-subtree=children").json();
    let kept = json["imdata"].as_array().unwrap();
    let find =
        |name: &String| kept.iter().find(|mo| mo["fvTenant"]["attributes"]["name"] == **name);
    assert!(expected.len() > 90, "only {} posts", expected.len());
    for name in &expected {
        let tenant = find(name).unwrap_or_else(|| panic!("{name} was acknowledged and is gone"));
        let children = tenant["fvTenant"]["children"].as_array().unwrap();
        assert!(children.iter().any(|child| child["fvCtx"].is_object()), "half of {name} is gone");
    }
    let log = client.get("/selvage/v1/log?limit=10000").json();
    let revisions = log["log"].as_array().unwrap().len();
    assert!(revisions >= expected.len() && revisions <= expected.len() + 3 * WRITERS);
}

/// The disk is full: here, a file may not grow beyond 4 MiB.
#[test]
fn a_full_disk_is_an_error_to_the_client_and_nothing_else() {
    let dir = equipped_dir();
    let plain = command(dir.path());
    let mut limited = std::process::Command::new("sh");
    // Without the signal, a write beyond the limit is an error like any other.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 8192; exec \"$@\"", "sh"]);
    limited.arg(plain.get_program()).args(plain.get_args());
    let controller = Controller::spawn(limited, dir);
    let client = controller.admin();
    let large = |name: usize| {
        let entry = |n: usize| {
            let text = "x".repeat(100);
            format!(r#"{{"fvBD":{{"attributes":{{"name":"b{n}","descr":"{text}"}}}}}}"#)
        };
        let children: Vec<String> = (0..2_000).map(entry).collect();
        let children = children.join(",");
        format!(r#"{{"fvTenant":{{"attributes":{{"name":"t{name}"}},"children":[{children}]}}}}"#)
    };
    let mut stored = 0;
    let refused = loop {
        let answer = client.post("/api/mo/uni.json", &large(stored));
        if answer.status != 200 {
            break answer;
        }
        stored += 1;
        assert!(stored < 50, "the limit does not hold");
    };
    assert!(stored > 0, "nothing was ever stored: {refused:?}");
    assert_eq!(refused.error(), (500, "500".into()), "{refused:?}");
    assert!(refused.body.contains("policy.redb"), "{refused:?}");
    let tenants = |client: &super::client::Client| client.get("/api/class/fvTenant.json").total();
    assert_eq!(tenants(&client), 3 + stored);
    let revision = client.get("/selvage/v1/revision").json()["revision"].as_u64().unwrap();
    assert_eq!(revision, stored as u64);
    // Once there is room again, all is as it was, and work goes on.
    let again = Controller::start_in(controller.kill());
    let client = again.admin();
    assert_eq!(tenants(&client), 3 + stored);
    assert_eq!(client.post("/api/mo/uni.json", &large(stored)).status, 200);
    assert_eq!(tenants(&client), 4 + stored);
}
