//! What Linux itself offers: a bridge, and a bridge with a tunnel to another host.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{CLIENT, Path, SERVER, Space, join};

/// Two workloads on one Linux bridge.
pub fn bridge() -> Result<Path> {
    let host = Space::new("br")?;
    let (client, server) = (Space::new("c")?, Space::new("s")?);
    ip(&host, "link add br0 type bridge")?;
    ip(&host, "link set br0 up")?;
    for (space, name, address) in [(&client, "port1", CLIENT), (&server, "port2", SERVER)] {
        join(&host, name, space, None)?;
        ip(&host, &format!("link set {name} master br0"))?;
        space.address("eth0", address.into(), 24)?;
    }
    Ok(Path::new("Linux bridge", client, server, host))
}

/// Two workloads on bridges of two hosts, joined by a VXLAN tunnel: what an overlay is without
/// policy.
pub fn tunnelled_bridge() -> Result<Path> {
    let hosts = [Space::new("ba")?, Space::new("bb")?];
    let (client, server) = (Space::new("c")?, Space::new("s")?);
    let [near, far] = &hosts;
    underlay(near, far)?;
    for (host, (here, there)) in hosts.iter().zip([(1, 2), (2, 1)]) {
        ip(host, "link add br0 type bridge")?;
        ip(
            host,
            &format!(
                "link add tun0 mtu {} type vxlan id 42 local 192.0.2.{here} remote 192.0.2.{there} \
                 dstport 4789",
                super::MTU
            ),
        )?;
        ip(host, "link set tun0 master br0")?;
        ip(host, "link set tun0 up")?;
        ip(host, "link set br0 up")?;
    }
    for (host, space, address) in [(near, &client, CLIENT), (far, &server, SERVER)] {
        join(host, "port1", space, None)?;
        ip(host, "link set port1 master br0")?;
        space.address("eth0", address.into(), 24)?;
    }
    Ok(Path::new("Linux bridges over VXLAN", client, server, hosts))
}

/// One wire between two hosts, 192.0.2.1 and 192.0.2.2, with room for a tunnel's headers.
pub fn underlay(near: &Space, far: &Space) -> Result<()> {
    let far_name = &far.name;
    ip(
        near,
        &format!("link add under0 mtu 1500 type veth peer name under0 mtu 1500 netns {far_name}"),
    )?;
    for (host, number) in [(near, 1), (far, 2)] {
        ip(host, &format!("address add 192.0.2.{number}/24 dev under0"))?;
        ip(host, "link set under0 up")?;
    }
    Ok(())
}

/// ip(8), in a namespace.
fn ip(space: &Space, words: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["-netns", &space.name]).args(words.split_whitespace());
    let output = command.output().context("running ip(8)")?;
    let talk = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`ip {words}`: {}", talk.trim());
    Ok(())
}
