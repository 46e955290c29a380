//! The fabrics that tests are written on.

/// Two groups of one VRF, `web` consuming contract `c` from `app`.
pub const WEB_AND_APP: &str = "
    fvTenant uni/tn-t
    fvCtx uni/tn-t/ctx-v
    fvBD uni/tn-t/BD-b
    fvRsCtx uni/tn-t/BD-b/rsctx tnFvCtxName=v
    fvAp uni/tn-t/ap-p
    fvAEPg uni/tn-t/ap-p/epg-web
    fvRsBd uni/tn-t/ap-p/epg-web/rsbd tnFvBDName=b
    fvRsCons uni/tn-t/ap-p/epg-web/rscons-c
    fvAEPg uni/tn-t/ap-p/epg-app
    fvRsBd uni/tn-t/ap-p/epg-app/rsbd tnFvBDName=b
    fvRsProv uni/tn-t/ap-p/epg-app/rsprov-c
    vzBrCP uni/tn-t/brc-c
    vzFilter uni/tn-t/flt-f
";

/// Added to [`WEB_AND_APP`]: a fabric in which every rule is the only one to decide about some
/// packet.
pub const EVERY_RULE_COUNTS: &str = "
    fvAEPg uni/tn-t/ap-p/epg-lone pcEnfPref=enforced
    fvRsBd uni/tn-t/ap-p/epg-lone/rsbd tnFvBDName=b
    vzSubj uni/tn-t/brc-c/subj-both
    vzRsSubjFiltAtt uni/tn-t/brc-c/subj-both/rssubjFiltAtt-some
    vzRsSubjFiltAtt uni/tn-t/brc-c/subj-both/rssubjFiltAtt-never action=deny
    vzSubj uni/tn-t/brc-c/subj-one
    vzInTerm uni/tn-t/brc-c/subj-one/intmnl
    vzRsFiltAtt uni/tn-t/brc-c/subj-one/intmnl/rsfiltAtt-up
    vzFilter uni/tn-t/flt-some
    vzEntry uni/tn-t/flt-some/e-web etherT=ip prot=tcp dFromPort=80 dToPort=443
    vzEntry uni/tn-t/flt-some/e-last etherT=ip prot=tcp dFromPort=65535 dToPort=65535 stateful=yes
    vzEntry uni/tn-t/flt-some/e-low etherT=ip prot=udp dFromPort=1 dToPort=1023
    vzEntry uni/tn-t/flt-some/e-ask etherT=arp arpOpc=req
    vzFilter uni/tn-t/flt-never
    vzEntry uni/tn-t/flt-never/e-tls etherT=ipv6 prot=tcp dFromPort=443 dToPort=443
    vzFilter uni/tn-t/flt-up
    vzEntry uni/tn-t/flt-up/e-rst etherT=ipv4 prot=tcp dFromPort=1024 dToPort=1024 tcpRules=rst
    vzEntry uni/tn-t/flt-up/e-ping etherT=ipv4 prot=icmp icmpv4T=echo
";

/// DN of a group of these fabrics.
pub fn group(name: &str) -> String {
    format!("uni/tn-t/ap-p/epg-{name}")
}

/// [`WEB_AND_APP`] with these lines; one with the DN of an old line takes its place.
pub fn with(lines: &str) -> String {
    fn dn(line: &str) -> Option<&str> {
        line.split_whitespace().nth(1)
    }
    let same = |new: &str, old: &str| dn(new).is_some() && dn(new) == dn(old);
    let old =
        WEB_AND_APP.lines().map(|old| lines.lines().find(|new| same(new, old)).unwrap_or(old));
    let new = lines.lines().filter(|new| !WEB_AND_APP.lines().any(|old| same(new, old)));
    old.chain(new).map(|line| format!("{line}\n")).collect()
}
