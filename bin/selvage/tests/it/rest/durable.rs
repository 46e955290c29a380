//! What was acknowledged stays, however the controller ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::fixture::{Controller, eventually};

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
