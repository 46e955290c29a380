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

/// Added to [`WEB_AND_APP`]: features of the policy language, each line of which decides about some
/// packet. Those that are put in by twos stand in one line of [`FEATURES_THAT_COUNT`].
pub const EVERY_FEATURE_COUNTS: &str = "
    vzSubj uni/tn-t/brc-c/subj-s
    vzRsSubjFiltAtt uni/tn-t/brc-c/subj-s/rssubjFiltAtt-low directives=log
    vzFilter uni/tn-t/flt-low
    vzEntry uni/tn-t/flt-low/e-low etherT=ip prot=tcp dFromPort=1 dToPort=1023
    vzFilter uni/tn-t/flt-one
    vzEntry uni/tn-t/flt-one/e-one etherT=ip prot=tcp dFromPort=80 dToPort=80
    vzFilter uni/tn-t/flt-ping
    vzEntry uni/tn-t/flt-ping/e-ping etherT=ipv4 prot=icmp icmpv4T=echo
    vzFilter uni/tn-t/flt-voice
    vzEntry uni/tn-t/flt-voice/e-voice etherT=ip prot=udp matchDscp=EF
    fvAEPg uni/tn-t/ap-p/epg-db prefGrMemb=include
    fvRsBd uni/tn-t/ap-p/epg-db/rsbd tnFvBDName=b
    fvAEPg uni/tn-t/ap-p/epg-old prefGrMemb=include
    fvRsBd uni/tn-t/ap-p/epg-old/rsbd tnFvBDName=b
    fvAEPg uni/tn-t/ap-p/epg-new
    fvRsBd uni/tn-t/ap-p/epg-new/rsbd tnFvBDName=b
    vzAny uni/tn-t/ctx-v/any prefGrMemb=enabled
    vzRsAnyToProv uni/tn-t/ctx-v/any/rsanyToProv-ping
    vzRsAnyToCons uni/tn-t/ctx-v/any/rsanyToCons-ping
    vzBrCP uni/tn-t/brc-ping
    vzSubj uni/tn-t/brc-ping/subj-s
    vzRsSubjFiltAtt uni/tn-t/brc-ping/subj-s/rssubjFiltAtt-ping
    fvRsIntraEpg uni/tn-t/ap-p/epg-db/rsintraEpg-within
    vzBrCP uni/tn-t/brc-within
    vzSubj uni/tn-t/brc-within/subj-s
    vzRsSubjFiltAtt uni/tn-t/brc-within/subj-s/rssubjFiltAtt-one
    fvRsProtBy uni/tn-t/ap-p/epg-app/rsprotBy-x
    vzTaboo uni/tn-t/taboo-x
    vzTSubj uni/tn-t/taboo-x/tsubj-s
    vzRsDenyRule uni/tn-t/taboo-x/tsubj-s/rsdenyRule-one directives=log
    fvRsSecInherited uni/tn-t/ap-p/epg-new/rssecInherited-[uni/tn-t/ap-p/epg-web]
    vzCPIf uni/tn-t/cif-i
    vzRsIf uni/tn-t/cif-i/rsif tDn=uni/tn-t/brc-voice
    fvRsConsIf uni/tn-t/ap-p/epg-old/rsconsIf-i
    fvRsProv uni/tn-t/ap-p/epg-app/rsprov-voice
    vzBrCP uni/tn-t/brc-voice
    vzSubj uni/tn-t/brc-voice/subj-s
    vzRsSubjFiltAtt uni/tn-t/brc-voice/subj-s/rssubjFiltAtt-voice
    fvRsCons uni/tn-t/ap-p/epg-db/rscons-mesh
    fvRsCons uni/tn-t/ap-p/epg-web/rscons-mesh
    fvRsProv uni/tn-t/ap-p/epg-app/rsprov-mesh
    vzBrCP uni/tn-t/brc-mesh
    vzSubj uni/tn-t/brc-mesh/subj-s
    vzRsSubjFiltAtt uni/tn-t/brc-mesh/subj-s/rssubjFiltAtt-voice
    vzException uni/tn-t/brc-mesh/excp-x field=EPg consRegex=web provRegex=app
    fvRsCons uni/tn-t/ap-p/epg-db/rscons-label
    fvRsCons uni/tn-t/ap-p/epg-new/rscons-label
    fvRsProv uni/tn-t/ap-p/epg-web/rsprov-label matchT=All
    vzBrCP uni/tn-t/brc-label
    vzSubj uni/tn-t/brc-label/subj-s consMatchT=None
    vzRsSubjFiltAtt uni/tn-t/brc-label/subj-s/rssubjFiltAtt-one
    vzProvLbl uni/tn-t/ap-p/epg-web/rsprov-label/provlbl-red
    vzProvLbl uni/tn-t/ap-p/epg-web/rsprov-label/provlbl-blue
    vzConsLbl uni/tn-t/ap-p/epg-db/rscons-label/conslbl-red
    vzConsLbl uni/tn-t/ap-p/epg-db/rscons-label/conslbl-blue
    vzConsLbl uni/tn-t/ap-p/epg-new/rscons-label/conslbl-red
    vzConsSubjLbl uni/tn-t/brc-label/subj-s/conssubjlbl-hot
    vzConsSubjLbl uni/tn-t/ap-p/epg-db/rscons-label/conssubjlbl-cold
";

/// What [`EVERY_FEATURE_COUNTS`] must not lose or get otherwise: what is there, and what is put in its
/// place by a compiler that misread it; empty where it forgot.
pub const FEATURES_THAT_COUNT: [(&str, &str); 26] = [
    ("vzRsAnyToProv uni/tn-t/ctx-v/any/rsanyToProv-ping", ""),
    ("vzRsAnyToCons uni/tn-t/ctx-v/any/rsanyToCons-ping", ""),
    (" prefGrMemb=enabled", ""),
    ("epg-db prefGrMemb=include", "epg-db"),
    ("epg-old prefGrMemb=include", "epg-old"),
    ("fvRsIntraEpg uni/tn-t/ap-p/epg-db/rsintraEpg-within", ""),
    ("rsintraEpg-within", "rsintraEpg-gone"),
    ("fvRsProtBy uni/tn-t/ap-p/epg-app/rsprotBy-x", ""),
    ("epg-app/rsprotBy-x", "epg-web/rsprotBy-x"),
    ("rsdenyRule-one directives=log", "rsdenyRule-one"),
    ("rsdenyRule-one", "rsdenyRule-low"),
    ("rssubjFiltAtt-low directives=log", "rssubjFiltAtt-low"),
    ("fvRsSecInherited uni/tn-t/ap-p/epg-new/rssecInherited-[uni/tn-t/ap-p/epg-web]", ""),
    ("rssecInherited-[uni/tn-t/ap-p/epg-web]", "rssecInherited-[uni/tn-t/ap-p/epg-app]"),
    ("fvRsConsIf uni/tn-t/ap-p/epg-old/rsconsIf-i", ""),
    ("tDn=uni/tn-t/brc-voice", "tDn=uni/tn-t/brc-c"),
    (" matchDscp=EF", ""),
    (" matchDscp=EF", " matchDscp=CS5"),
    ("vzException uni/tn-t/brc-mesh/excp-x field=EPg consRegex=web provRegex=app", ""),
    ("consRegex=web provRegex=app", "consRegex=app provRegex=web"),
    ("consRegex=web provRegex=app", "consRegex=db provRegex=app"),
    (" matchT=All", ""),
    ("vzConsLbl uni/tn-t/ap-p/epg-db/rscons-label/conslbl-blue", ""),
    (" matchT=All", " matchT=None"),
    (" consMatchT=None", ""),
    ("conssubjlbl-cold", "conssubjlbl-hot"),
];

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
