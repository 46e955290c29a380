//! The format by example: what comes out, and what each mistake is told.

use super::{Manifest, parse};

const SHOP: &str = "\
apic:
  tenants:
    - name: shop
      vrfs:
        - name: prod
      bridge_domains:
        - name: front
          vrf: prod
          subnets:
            - ip: 10.1.1.1/24
      application_profiles:
        - name: store
          endpoint_groups:
            - name: web
              bridge_domain: front
              intra_epg_isolation: true
              contracts:
                providers: [http]
      filters:
        - name: http
          entries:
            - name: http
              destination_from_port: 80
              stateful: true
";

fn check(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(_) => Vec::new(),
        Err(wrong) => wrong
            .iter()
            .map(|d| match &d.hint {
                Some(hint) => format!("{d}; {hint}"),
                None => d.to_string(),
            })
            .collect(),
    }
}

fn parsed(text: &str) -> Manifest {
    parse(text).unwrap_or_else(|wrong| panic!("{wrong:#?}"))
}

#[test]
fn a_file_becomes_a_posted_tree() {
    let manifest = parsed(SHOP);
    let tenant = &manifest.posts[0];
    assert_eq!((tenant.class.as_str(), tenant.get("name")), ("fvTenant", Some("shop")));
    let classes: Vec<&str> = tenant.children.iter().map(|c| c.class.as_str()).collect();
    assert_eq!(classes, ["fvCtx", "fvBD", "fvAp", "vzFilter"]);
    let web = &tenant.children[2].children[0];
    assert_eq!(web.get("pcEnfPref"), Some("enforced"));
    let relations: Vec<_> = web.children.iter().map(|c| c.class.as_str()).collect();
    assert_eq!(relations, ["fvRsBd", "fvRsProv"]);
    let entry = &tenant.children[3].children[0];
    let values = ["etherT", "prot", "dFromPort", "stateful"].map(|name| entry.get(name));
    assert_eq!(values, [Some("ip"), Some("tcp"), Some("http"), Some("yes")]);
}

#[test]
fn objects_are_found_where_they_were_written() {
    let manifest = parsed(SHOP);
    let line = |dn: &str| manifest.places[dn].line;
    assert_eq!(line("uni/tn-shop"), 3);
    assert_eq!(line("uni/tn-shop/BD-front/subnet-[10.1.1.1/24]"), 10);
    assert_eq!(line("uni/tn-shop/ap-store/epg-web/rsprov-http"), 18);
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let text = SHOP
        .replace("vrf: prod", "vrf: prod\n          arp_floding: true")
        .replace("10.1.1.1/24", "10.1.1.1")
        .replace("stateful: true", "stateful: maybe");
    let wrong = check(&text);
    assert_eq!(wrong.len(), 3, "{wrong:#?}");
    assert!(wrong[0].starts_with("9:11: a bridge domain has no key `arp_floding`"), "{wrong:#?}");
    assert!(wrong[1].starts_with("11:19: `10.1.1.1` is not an IP address with"), "{wrong:#?}");
    assert!(wrong[2].contains("`stateful` is `true` or `false`, not `maybe`"), "{wrong:#?}");
}

#[test]
fn a_misspelt_key_is_told_the_right_one() {
    let wrong = check(&SHOP.replace("endpoint_groups", "endpoint_group"));
    assert_eq!(
        wrong,
        [
            "13:11: an application profile has no key `endpoint_group`; did you mean `endpoint_groups`?"
        ]
    );
}

#[test]
fn a_misspelt_word_is_told_the_right_one() {
    let text =
        SHOP.replace("- name: prod\n", "- name: prod\n          enforcement_preference: enforcd\n");
    let wrong = check(&text);
    assert!(wrong[0].ends_with("did you mean `enforced`?"), "{wrong:#?}");
}

#[test]
fn a_port_range_upside_down_is_refused() {
    let text = SHOP.replace("port: 80\n", "port: 8080\n              destination_to_port: https\n");
    assert_eq!(
        check(&text),
        ["24:36: the port range 8080 to 443 is upside down; did you mean 443 to 8080?"]
    );
}

#[test]
fn the_same_name_twice_is_refused() {
    let text = SHOP.replace("- name: prod\n", "- name: prod\n        - name: prod\n");
    let wrong = check(&text);
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].starts_with("6:17: a VRF `uni/tn-shop/ctx-prod` is here twice"), "{wrong:#?}");
}

#[test]
fn the_same_key_twice_is_refused() {
    let text = SHOP.replace("          vrf: prod\n", "          vrf: prod\n          vrf: prod\n");
    let wrong = check(&text);
    assert!(wrong.iter().any(|w| w.contains("key `vrf` stands here twice")), "{wrong:#?}");
}

#[test]
fn wrong_indentation_names_the_line() {
    let wrong = check(&SHOP.replace("          vrf: prod", "         vrf: prod"));
    assert_eq!(wrong.len(), 1, "{wrong:#?}");
    assert!(wrong[0].contains("this is no YAML"), "{wrong:#?}");
    let line: usize = wrong[0].split(':').next().unwrap().parse().unwrap();
    assert!((7..=9).contains(&line), "{wrong:#?}");
}

#[test]
fn a_list_that_is_none_is_told_so() {
    let wrong = check("apic:\n  tenants:\n    name: shop\n");
    assert_eq!(
        wrong,
        ["3:5: `tenants` is a list, this is keys with values; put `- ` before each of its items"]
    );
}

#[test]
fn a_file_without_policy_is_told_so() {
    for text in ["", "# nothing\n", "[]", "42", "tenants: []"] {
        assert!(!check(text).is_empty(), "{text:?} was accepted");
    }
}

#[test]
fn numbers_keep_their_spelling_in_names() {
    let manifest = parsed("apic:\n  tenants:\n    - name: 1.10\n    - name: 0080\n");
    let names: Vec<_> = manifest.posts.iter().map(|p| p.get("name").unwrap()).collect();
    assert_eq!(names, ["1.10", "0080"]);
}

#[test]
fn an_alias_bomb_ends_as_an_error() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..9 {
        let previous = vec![format!("*a{}", n - 1); 10].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{previous}]\n"));
    }
    assert!(!check(&text).is_empty());
}

#[test]
fn deep_nesting_ends_as_an_error() {
    assert!(!check(&"[".repeat(100_000)).is_empty());
    assert!(!check(&"a:\n".chars().cycle().take(3).collect::<String>().repeat(2)).is_empty());
}

#[test]
fn the_example_is_read_whole() {
    let text = include_str!("../../../../examples/three-tier.nac.yaml");
    let manifest = parsed(text);
    let groups = ["web", "app", "db"].map(|name| format!("uni/tn-shop/ap-store/epg-{name}"));
    assert!(groups.iter().all(|dn| manifest.places.contains_key(dn)));
    assert_eq!(manifest.posts[0].children.len(), 1 + 2 + 1 + 3 + 4);
}

#[test]
fn a_subject_may_have_filters_of_one_direction() {
    let manifest = parsed(
        "\
apic:
  tenants:
    - name: plant
      contracts:
        - name: syslog
          subjects:
            - name: up
              consumer_to_provider:
                filters:
                  - filter: syslog
                  - filter: telnet
                    action: deny
                    priority: level3
",
    );
    let subject = &manifest.posts[0].children[0].children[0];
    let terminal = &subject.children[0];
    assert_eq!(terminal.class, "vzInTerm");
    let filters: Vec<_> =
        terminal.children.iter().map(|f| (f.class.as_str(), f.get("priorityOverride"))).collect();
    assert_eq!(filters, [("vzRsFiltAtt", None), ("vzRsFiltAtt", Some("level3"))]);
    let place = manifest.places.get("uni/tn-plant/brc-syslog/subj-up/intmnl/rsfiltAtt-telnet");
    assert_eq!(place.map(|span| span.line), Some(11));
}

#[test]
fn a_port_alone_is_a_range_of_one() {
    let manifest = parsed(SHOP);
    let entry = &manifest.posts[0].children[3].children[0];
    assert_eq!((entry.get("dFromPort"), entry.get("dToPort")), (Some("http"), Some("http")));
}

const OUTSIDE: &str = "\
apic:
  tenants:
    - name: shop
      l3outs:
        - name: wan
          vrf: prod
          domain: routed
          node_profiles:
            - name: border
              nodes:
                - node_id: 101
                  router_id: 192.0.2.1
                  static_routes:
                    - prefix: 0.0.0.0/0
                      next_hops:
                        - ip: 192.0.2.254
              interface_profiles:
                - name: up
                  interfaces:
                    - node_id: 101
                      channel: eth1
                      ip: 192.0.2.1/24
          external_endpoint_groups:
            - name: internet
              subnets:
                - prefix: 0.0.0.0/0
                - prefix: 198.51.100.0/24
                  import_security: false
                  export_route_control: true
              contracts:
                consumers: [http]
";

#[test]
fn an_l3out_becomes_its_objects() {
    let manifest = parsed(OUTSIDE);
    let out = &manifest.posts[0].children[0];
    let classes: Vec<&str> = out.children.iter().map(|c| c.class.as_str()).collect();
    assert_eq!(classes, ["l3extRsEctx", "l3extRsL3DomAtt", "l3extLNodeP", "l3extInstP"]);
    assert_eq!(out.children[1].get("tDn"), Some("uni/l3dom-routed"));
    let [node, links] = &out.children[2].children[..] else { panic!("{out:?}") };
    assert_eq!(node.get("tDn"), Some("topology/pod-1/node-101"));
    assert_eq!(node.children[0].children[0].get("nhAddr"), Some("192.0.2.254"));
    let link = &links.children[0];
    assert_eq!(link.get("tDn"), Some("topology/pod-1/paths-101/pathep-[eth1]"));
    let scopes: Vec<_> = out.children[3].children.iter().map(|c| c.get("scope")).collect();
    assert_eq!(scopes, [Some("import-security"), Some("export-rtctrl"), None]);
    let route = "uni/tn-shop/out-wan/lnodep-border/rsnodeL3OutAtt-[topology/pod-1/node-101]\
                 /rt-[0.0.0.0/0]";
    assert_eq!(manifest.places[route].line, 14);
}

#[test]
fn mistakes_in_an_l3out_are_told_apart() {
    let wrong = OUTSIDE
        .replace(
            "node_id: 101\n                  router_id",
            "node_id: leaf\n                  router_id",
        )
        .replace("channel: eth1", "channel: eth1/1")
        .replace("import_security: false", "import_security: maybe")
        .replace("contracts:", "contract:");
    let told = check(&wrong);
    assert!(told[0].contains("`node_id` is a node's number"), "{told:?}");
    assert!(told[1].contains("the name of a link of the host"), "{told:?}");
    assert!(told[2].contains("`import_security` is `true` or `false`, not `maybe`"), "{told:?}");
    assert!(told[3].contains("did you mean `contracts`?"), "{told:?}");
    assert_eq!(told.len(), 4, "{told:?}");
}

const WHOLE: &str = "\
apic:
  tenants:
    - name: shop
      vrfs:
        - name: prod
          preferred_group: true
          contracts:
            consumers: [dns]
            imported_consumers: [logs]
          leaked_internal_subnets:
            - prefix: 10.1.1.0/24
              destinations:
                - tenant: ops
                  vrf: main
      bridge_domains:
        - name: front
          vrf: prod
          arp_flooding: true
          subnets:
            - ip: 10.1.1.1/24
              public: true
              shared: true
              no_default_gateway: true
      application_profiles:
        - name: store
          endpoint_groups:
            - name: web
              bridge_domain: front
              proxy_arp: true
              preferred_group: true
              contracts:
                imported_consumers: [logs]
                intra_epgs: [dns]
                masters:
                  - endpoint_group: base
                  - endpoint_group: base
                    application_profile: shared
              physical_domains: [metal]
              static_ports:
                - node_id: 101
                  port: 7
                  vlan: 12
                - node_id: 101
                  node2_id: 102
                  channel: VPC1
                  vlan: 12
                  mode: untagged
              static_endpoints:
                - mac: 00:00:00:00:00:01
                  type: silent-host
                  ip: 10.1.1.9
                  node_id: 101
                  channel: eth1
                  vlan: 12
                  additional_ips: [10.1.1.10]
              tags: [blue]
          useg_endpoint_groups:
            - name: odd
              bridge_domain: front
              useg_attributes:
                match_type: all
                ip_statements:
                  - name: one
                    ip: 10.1.1.7
                  - name: subnet
                vm_statements:
                  - name: db
                    type: tag
                    category: tier
                    value: db
          endpoint_security_groups:
            - name: all
              vrf: prod
              contracts:
                masters:
                  - endpoint_security_group: other
              tag_selectors:
                - key: tier
                  value: web
                  operator: contains
              epg_selectors:
                - endpoint_group: web
              ip_subnet_selectors:
                - value: 10.1.1.0/28
              ip_external_subnet_selectors:
                - ip: 192.0.2.0/24
                  shared: true
      contracts:
        - name: dns
          qos_class: level2
          subjects:
            - name: s
              target_dscp: EF
              service_graph: fw
              filters:
                - filter: any
                  action: deny
                  log: true
                  no_stats: true
      imported_contracts:
        - name: logs
          tenant: ops
          contract: syslog
      policies:
        endpoint_ip_tags:
          - ip: 10.1.1.9
            vrf: prod
            tags:
              - key: tier
                value: web
        endpoint_mac_tags:
          - mac: 00:00:00:00:00:01
            bridge_domain: all
            vrf: prod
";

#[test]
fn the_whole_language_has_its_objects() {
    let mut tree = crate::initial_tree();
    for post in parsed(WHOLE).posts {
        let top = "uni".parse().unwrap();
        crate::apply(&mut tree, crate::Stamp::new("now", "1"), Some(&top), &post).unwrap();
    }
    let cases = [
        ("ctx-prod/any", "prefGrMemb=enabled"),
        ("ctx-prod/any/rsanyToCons-dns", "state=formed"),
        ("ctx-prod/any/rsanyToConsIf-logs", "state=formed"),
        ("ctx-prod/leakroutes/leakintsubnet-[10.1.1.0/24]/to-[ops]-[main]", "scope=inherit"),
        ("BD-front", "arpFlood=yes"),
        ("BD-front/subnet-[10.1.1.1/24]", "scope=public,shared ctrl=nd,no-default-gateway"),
        ("ap-store/epg-web", "fwdCtrl=proxy-arp prefGrMemb=include"),
        ("ap-store/epg-web/rsconsIf-logs", "state=formed"),
        ("ap-store/epg-web/rsintraEpg-dns", "state=formed"),
        ("ap-store/epg-web/rssecInherited-[uni/tn-shop/ap-store/epg-base]", "tType=mo"),
        ("ap-store/epg-web/rssecInherited-[uni/tn-shop/ap-shared/epg-base]", "tType=mo"),
        ("ap-store/epg-web/rsdomAtt-[uni/phys-metal]", "instrImedcy=lazy"),
        ("ap-store/epg-web/rspathAtt-[topology/pod-1/paths-101/pathep-[eth1/7]]", "encap=vlan-12"),
        (
            "ap-store/epg-web/rspathAtt-[topology/pod-1/protpaths-101-102/pathep-[VPC1]]",
            "mode=untagged",
        ),
        ("ap-store/epg-web/stcep-00:00:00:00:00:01-type-silent-host", "ip=10.1.1.9 encap=vlan-12"),
        ("ap-store/epg-web/stcep-00:00:00:00:00:01-type-silent-host/ip-[10.1.1.10]", ""),
        (
            "ap-store/epg-web/stcep-00:00:00:00:00:01-type-silent-host\
             /rsstCEpToPathEp-[topology/pod-1/paths-101/pathep-[eth1]]",
            "",
        ),
        ("ap-store/epg-web/tag-blue", ""),
        ("ap-store/epg-odd", "isAttrBasedEPg=yes"),
        ("ap-store/epg-odd/crtrn", "match=all"),
        ("ap-store/epg-odd/crtrn/ipattr-one", "ip=10.1.1.7 usefvSubnet=no"),
        ("ap-store/epg-odd/crtrn/ipattr-subnet", "ip=0.0.0.0 usefvSubnet=yes"),
        ("ap-store/epg-odd/crtrn/vmattr-db", "type=tag operator=equals category=tier value=db"),
        ("ap-store/esg-all/rsscope", "state=formed"),
        ("ap-store/esg-all/rssecInherited-[uni/tn-shop/ap-store/esg-other]", "tType=mo"),
        ("ap-store/esg-all/tagselectorkey-[tier]-value-[web]", "valueOperator=contains"),
        ("ap-store/esg-all/epgselector-[uni/tn-shop/ap-store/epg-web]", ""),
        ("ap-store/esg-all/epselector-[ip=='10.1.1.0/28']", ""),
        ("ap-store/esg-all/extsubselector-[192.0.2.0/24]", "shared=yes"),
        ("brc-dns", "prio=level2"),
        ("brc-dns/subj-s", "targetDscp=EF"),
        ("brc-dns/subj-s/rsSubjGraphAtt", "tnVnsAbsGraphName=fw"),
        ("brc-dns/subj-s/rssubjFiltAtt-any", "action=deny directives=log,no_stats"),
        ("cif-logs/rsif", "tDn=uni/tn-ops/brc-syslog"),
        ("eptags/epiptag-[10.1.1.9]-prod/tagKey-tier", "value=web"),
        ("eptags/epmactag-00:00:00:00:00:01-[*]", "ctxName=prod"),
    ];
    for (dn, values) in cases {
        let mo = tree.get(&format!("uni/tn-shop/{dn}")).unwrap_or_else(|| panic!("no {dn}"));
        for (name, value) in values.split_whitespace().filter_map(|value| value.split_once('=')) {
            assert_eq!(mo.get(name), value, "{dn} {name}");
        }
    }
}

#[test]
fn what_cannot_name_a_port_or_a_master_is_told() {
    let cases = [
        (
            "                  port: 7\n",
            "",
            "40:19: a static port needs keys that say which one; for example `node_id` and `port`",
        ),
        (
            "vlan: 12\n                - node_id",
            "vlan: 5000\n                - node_id",
            "42:25: `vlan` is a VLAN, from 1 to 4094, not `5000`",
        ),
        (
            "- endpoint_group: base\n                  - end",
            "- application_profile: x\n                  - end",
            "35:21: a contract master needs the key `endpoint_group`",
        ),
        ("bridge_domain: all", "bridge_domain: '*x'", "bdName"),
    ];
    for (from, to, expected) in cases {
        let wrong = check(&WHOLE.replacen(from, to, 1));
        assert_eq!(wrong.len(), 1, "{from}: {wrong:#?}");
        assert!(wrong[0].starts_with(expected) || expected == "bdName", "{wrong:#?}");
    }
}
