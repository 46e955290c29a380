//! Docker's calls, as its engine 20.10 made them of another driver, made of this one: what comes back
//! is what libnetwork reads, and nothing is left at the end. The recordings have that driver's pool
//! ids, addresses and options, which are exchanged for this one's; calls that it had asked for by
//! `RequiresRequestReplay` are left out.

use std::collections::BTreeMap;

use selvage_agent::Ticket;
use selvage_agent::docker::{Driver, Output, Record, Reply};
use selvage_agent::local::Stage;
use serde_json::{Value, json};

use crate::controller::DB;
use crate::world::World;

const RESTARTS: &str = include_str!("../data/libnetwork-restarts.jsonl");
const KILL: &str = include_str!("../data/libnetwork-kill.jsonl");

/// An agent with a driver, and what the driver kept.
struct Host {
    world: World,
    driver: Driver,
    kept: Record,
    /// Keeping something fails.
    full: bool,
    tickets: u64,
}

impl Host {
    fn new() -> Host {
        let (driver, kept) = (Driver::default(), Record::default());
        Host { world: World::new(), driver, kept, full: false, tickets: 0 }
    }

    /// The agent is started again, and knows what was kept.
    fn restart(&mut self) {
        self.world.restart();
        let text = serde_json::to_string(&self.kept).unwrap();
        self.driver = Driver::new(serde_json::from_str(&text).unwrap());
    }

    fn call(&mut self, method: &str, body: &Value) -> Value {
        let reply = self.raw(method, body.to_string().as_bytes());
        assert_eq!(reply.status, 200, "{method}");
        serde_json::from_slice(&reply.body).unwrap()
    }

    fn raw(&mut self, method: &str, body: &[u8]) -> Reply {
        self.tickets += 1;
        self.driver.call(Ticket(self.tickets), method, body);
        loop {
            match self.driver.poll_output().unwrap_or_else(|| panic!("{method} has no reply")) {
                Output::Ask(ticket, request) => {
                    let response = self.world.ask(request).unwrap();
                    self.driver.answered(ticket, response);
                }
                Output::Save(ticket, record) => {
                    let full = self.full.then(|| "the disk is full".to_owned());
                    if full.is_none() {
                        self.kept = *record;
                    }
                    self.driver.saved(ticket, full.map_or(Ok(()), Err));
                }
                Output::Reply(ticket, reply) => {
                    assert_eq!(ticket, Ticket(self.tickets));
                    return reply;
                }
            }
        }
    }

    /// A network in the way of `docker network create`; its id and its pool's.
    fn network(&mut self, id: &str, v6: bool) -> (Value, Vec<String>) {
        let (mut data, mut pools) = (Vec::new(), Vec::new());
        for v6 in [false, true].into_iter().take(1 + usize::from(v6)) {
            let pool = self.call("IpamDriver.RequestPool", &json!({ "Pool": "", "V6": v6 }));
            let gateway = &pool["Data"]["com.docker.network.gateway"];
            data.push(json!([{
                "AddressSpace": "selvage", "Pool": pool["Pool"], "Gateway": gateway
            }]));
            pools.push(pool["PoolID"].as_str().unwrap().to_owned());
        }
        let body = json!({
            "NetworkID": id,
            "Options": { "com.docker.network.generic": { "epg": "shop/store/web" } },
            "IPv4Data": data[0],
            "IPv6Data": data.get(1),
        });
        (self.call("NetworkDriver.CreateNetwork", &body), pools)
    }

    fn address(&mut self, pool: &str, wish: &str, mac: &str) -> Value {
        let options = json!({ "com.docker.network.endpoint.macaddress": mac });
        let body = json!({ "PoolID": pool, "Address": wish, "Options": options });
        self.call("IpamDriver.RequestAddress", &body)
    }
}

/// Exchanges what was the other driver's in a recording.
#[derive(Default)]
struct Exchange {
    pool: String,
    gateway: String,
    /// The MAC of the container that is being started, and its address.
    started: u8,
    address: String,
    /// Addresses by what they were.
    addresses: BTreeMap<String, String>,
}

impl Exchange {
    fn mac(&self) -> String {
        format!("02:42:0a:00:00:{:02x}", self.started)
    }

    /// The call as Docker makes it of this driver; `None` where it would not.
    fn change(&mut self, method: &str, mut body: Value) -> Option<Value> {
        if body.get("PoolID").is_some() {
            body["PoolID"] = json!(self.pool);
        }
        match method {
            "IpamDriver.RequestPool" if !self.pool.is_empty() => return None,
            "IpamDriver.RequestPool" => body["Pool"] = json!("10.2.0.0/24"),
            "IpamDriver.RequestAddress" if !body["Options"].is_null() => return None,
            "IpamDriver.RequestAddress" if body["Address"] != "" => return None,
            "IpamDriver.RequestAddress" => {
                self.started += 1;
                let mac = self.mac();
                body["Options"] = json!({ "com.docker.network.endpoint.macaddress": mac });
            }
            "IpamDriver.ReleaseAddress" => {
                let was = body["Address"].as_str().unwrap().to_owned();
                body["Address"] = json!(self.addresses.remove(&was).unwrap_or(was));
            }
            "NetworkDriver.CreateNetwork" => {
                body["Options"]["com.docker.network.generic"] = json!({ "epg": "shop/store/db" });
                body["IPv4Data"] = json!([{
                    "AddressSpace": "selvage", "Pool": "10.2.0.0/24", "Gateway": self.gateway
                }]);
            }
            "NetworkDriver.CreateEndpoint" => {
                let was = body["Interface"]["Address"].as_str().unwrap().trim_end_matches("/24");
                let is = self.address.trim_end_matches("/24");
                self.addresses.insert(was.to_owned(), is.to_owned());
                body["Interface"]["Address"] = json!(self.address);
                body["Interface"]["MacAddress"] = json!(self.mac());
            }
            _ => {}
        }
        Some(body)
    }
}

#[test]
fn recorded_lives_of_an_engine_are_answered_and_leave_nothing() {
    for (recording, most) in [(RESTARTS, 2), (KILL, 2)] {
        let (mut host, mut exchange, mut seen) = (Host::new(), Exchange::default(), 0);
        for line in recording.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let Some(method) = line["call"].as_str() else { continue };
            let Some(body) = exchange.change(method, line["body"].clone()) else { continue };
            let reply = host.call(method, &body);
            assert!(reply.get("Err").is_none() && reply.get("Error").is_none(), "{line} {reply}");
            match method {
                "IpamDriver.RequestPool" => {
                    exchange.pool = reply["PoolID"].as_str().unwrap().to_owned();
                    let gateway = &reply["Data"]["com.docker.network.gateway"];
                    exchange.gateway = gateway.as_str().unwrap().to_owned();
                    assert_eq!(exchange.gateway, "10.2.0.1/24");
                }
                "IpamDriver.RequestAddress" => {
                    exchange.address = reply["Address"].as_str().unwrap().to_owned();
                    assert!(exchange.address.starts_with("10.2.0."), "{reply}");
                }
                "NetworkDriver.Join" => {
                    let name = reply["InterfaceName"]["SrcName"].as_str().unwrap();
                    let views = host.world.agent.list();
                    let own = views.iter().find(|view| view.ifname == name).unwrap();
                    assert_eq!((own.stage, own.group.as_str()), (Stage::Ready, DB));
                    assert_eq!(reply["Gateway"], "10.2.0.1");
                    assert_eq!(reply["DisableGatewayService"], true);
                    seen = seen.max(views.len());
                }
                _ => {}
            }
        }
        assert_eq!(seen, most);
        assert!(host.world.agent.list().is_empty() && host.world.links.is_empty());
        let fresh: Value = serde_json::to_value(&host.kept).unwrap();
        assert_eq!((&fresh["networks"], &fresh["endpoints"]), (&json!({}), &json!({})));
    }
}

#[test]
fn pools_that_look_alike_find_their_networks() {
    let mut host = Host::new();
    let pool = |host: &mut Host| host.call("IpamDriver.RequestPool", &json!({ "V6": false }));
    let (first, second) = (pool(&mut host), pool(&mut host));
    let shown = |pool: &Value| {
        json!({ "AddressSpace": "selvage", "Pool": pool["Pool"],
                "Gateway": pool["Data"]["com.docker.network.gateway"] })
    };
    assert_eq!(first["Pool"], "0.0.0.0/0");
    assert_ne!(shown(&first), shown(&second));
    // The second network is made first.
    for (id, pool, epg) in [("n2", &second, "shop/store/db"), ("n1", &first, "shop/store/web")] {
        let body = json!({
            "NetworkID": id, "IPv4Data": [shown(pool)], "IPv6Data": null,
            "Options": { "com.docker.network.generic": { "epg": epg } },
        });
        assert_eq!(host.call("NetworkDriver.CreateNetwork", &body), json!({}));
    }
    for (pool, net, mac) in
        [(&first, "10.1.0.", "02:42:00:00:00:01"), (&second, "10.2.0.", "02:42:00:00:00:02")]
    {
        let got = host.address(pool["PoolID"].as_str().unwrap(), "", mac);
        assert!(got["Address"].as_str().unwrap().starts_with(net), "{got}");
    }
}

#[test]
fn both_families_of_a_container_are_one_endpoint_s() {
    let mut host = Host::new();
    let (made, pools) = host.network("n1", true);
    assert_eq!(made, json!({}));
    let mac = "02:42:00:00:00:01";
    let v4 = host.address(&pools[0], "", mac);
    let v6 = host.address(&pools[1], "2001:db8:1::77", mac);
    assert_eq!(v6["Address"], "2001:db8:1::77/64");
    let views = host.world.agent.list();
    let held: Vec<String> = views[0].addresses.iter().map(|a| a.ip.to_string()).collect();
    assert_eq!(views.len(), 1);
    assert!(v4["Address"].as_str().unwrap().starts_with(&held[0]), "{v4} {held:?}");
    assert_eq!(held[1], "2001:db8:1::77");
    let address = v4["Address"].as_str().unwrap().trim_end_matches("/24");
    host.call("IpamDriver.ReleaseAddress", &json!({ "PoolID": pools[0], "Address": address }));
    assert!(host.world.agent.list().is_empty(), "it was never made an endpoint");
}

#[test]
fn an_agent_that_was_started_again_between_two_calls_goes_on() {
    let mut host = Host::new();
    let (_, pools) = host.network("n1", false);
    let mac = "02:42:00:00:00:01";
    let address = host.address(&pools[0], "", mac)["Address"].clone();
    let endpoint = json!({
        "NetworkID": "n1", "EndpointID": "e1", "Options": null,
        "Interface": { "Address": address, "AddressIPv6": "", "MacAddress": mac },
    });
    assert_eq!(host.call("NetworkDriver.CreateEndpoint", &endpoint), json!({ "Interface": {} }));
    host.restart();
    let join = json!({ "NetworkID": "n1", "EndpointID": "e1", "SandboxKey": "/x", "Options": {} });
    let joined = host.call("NetworkDriver.Join", &join);
    assert_eq!(joined["InterfaceName"]["SrcName"], "sd024200000001");
    assert!(
        address
            .as_str()
            .unwrap()
            .starts_with(&host.world.agent.list()[0].addresses[0].ip.to_string())
    );
    // The answer was lost, and Docker asks again.
    host.restart();
    assert_eq!(host.call("NetworkDriver.Join", &join), joined);
    assert_eq!(host.world.links.len(), 1);
    let one = json!({ "NetworkID": "n1", "EndpointID": "e1" });
    host.restart();
    assert_eq!(host.call("NetworkDriver.DeleteEndpoint", &one), json!({}));
    assert!(host.world.links.is_empty());
    assert_eq!(host.call("NetworkDriver.DeleteEndpoint", &one), json!({}), "twice is no error");
}

#[test]
fn errors_have_the_key_that_each_half_reads_and_leave_nothing() {
    let mut host = Host::new();
    let bad = host.raw("IpamDriver.RequestPool", b"{").body;
    assert!(serde_json::from_slice::<Value>(&bad).unwrap()["Error"].is_string());
    let bad = host.raw("NetworkDriver.Join", b"[]").body;
    assert!(serde_json::from_slice::<Value>(&bad).unwrap()["Err"].is_string());
    let unknown = host.raw("NetworkDriver.AllocateNetwork", b"{}");
    assert_eq!((unknown.status, &unknown.body[..]), (404, &b"404 page not found\n"[..]));
    for method in ["CreateEndpoint", "Join"] {
        let body = json!({ "NetworkID": "nobody", "EndpointID": "e" });
        let reply = host.call(&format!("NetworkDriver.{method}"), &body);
        assert!(
            reply["Err"].as_str().unwrap().contains("network `nobody` is not known"),
            "{reply}"
        );
    }
    host.full = true;
    let (full, _) = host.network("n1", false);
    assert_eq!(full["Err"], "selvage: the disk is full");
    host.full = false;
    assert_eq!(host.network("n1", false).0, json!({}), "nothing is left of the attempt");
}
