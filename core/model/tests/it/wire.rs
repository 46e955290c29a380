//! The JSON that clients post and read.

use selvage_model::query::{Query, Scope, modified};
use selvage_model::wire::{Flaw, json, xml};
use selvage_model::{MAX_DEPTH, Post};

use crate::{acme, acme_post, dn, post};

#[test]
fn a_body_is_read_as_it_was_written() {
    let body = br#" {"fvTenant": {"children": [
        {"fvBD": {"attributes": {"name": "b", "descr": "\u00e4 \"quoted\""}, "children": []}},
        [{"fvCtx": {"attributes": {"name": "v"}}}, [{"fvAp": {"attributes": {}}}]]
    ], "attributes": {"name": "acme", "status": "created, modified"}}} "#;
    let expected = Post::new("fvTenant")
        .with("name", "acme")
        .with("status", "created, modified")
        .child(Post::new("fvBD").with("name", "b").with("descr", "ä \"quoted\""))
        .child(Post::new("fvCtx").with("name", "v"))
        .child(Post::new("fvAp"));
    assert_eq!(json::parse(body), Ok(expected));
}

#[test]
fn xml_says_what_json_says() {
    let body = "\n<?xml version=\"1.0\"?>\n<!-- all of it -->\n<fvTenant name='acme' \
                status=\"created, modified\">\n  <fvBD name=\"b\" descr=\"ä &quot;&#x71;uoted&quot;\"/>\n  \
                <fvCtx name=\"v\"></fvCtx><fvAp/>\n</fvTenant>\n";
    let expected = Post::new("fvTenant")
        .with("name", "acme")
        .with("status", "created, modified")
        .child(Post::new("fvBD").with("name", "b").with("descr", "ä \"quoted\""))
        .child(Post::new("fvCtx").with("name", "v"))
        .child(Post::new("fvAp"));
    assert_eq!(xml::parse(body.trim_start().as_bytes()), Ok(expected));
}

#[test]
fn what_is_no_xml_says_what_and_where() {
    let cases: &[(&[u8], Flaw, &str)] = &[
        (b"", Flaw::Truncated, "line: 1"),
        (b"<fvBD>\n<fvRsCtx/>", Flaw::Truncated, "line: 2"),
        (b"<fvBD>\n</fvAp>", Flaw::Syntax, "line: 2"),
        (b"<fvBD name='b", Flaw::Syntax, "XML parsing failed"),
        (b"<fvBD name=b/>", Flaw::Shape, "line '1'"),
        (b"<fvBD name='a' name='b'/>", Flaw::Shape, "line '1'"),
        (b"<fvBD name='&who;'/>", Flaw::Shape, "attribute 'name'"),
        (b"<fvBD>text</fvBD>", Flaw::Shape, "no text"),
        (b"<fvBD/><fvBD/>", Flaw::Shape, "More than one object"),
        (b"<!DOCTYPE x [<!ENTITY a 'b'>]><fvBD/>", Flaw::Shape, "document type"),
        (b"<fvBD name='\xff'/>", Flaw::Syntax, "UTF-8"),
    ];
    for (body, flaw, text) in cases {
        let error = xml::parse(body).unwrap_err();
        let shown = String::from_utf8_lossy(body);
        assert_eq!(error.flaw, *flaw, "{shown}: {error}");
        assert!(error.to_string().contains(text), "{shown}: {error}");
    }
    let deep = "<fvAp>".repeat(MAX_DEPTH + 3);
    assert!(xml::parse(deep.as_bytes()).unwrap_err().to_string().contains("levels"));
}

#[test]
fn a_tree_survives_being_written_and_read() {
    assert_eq!(json::parse(json::post(&acme_post()).as_bytes()), Ok(acme_post()));
}

#[test]
fn what_is_no_body_says_what_and_where() {
    let cases: &[(&[u8], Flaw, &str)] = &[
        (b"", Flaw::Truncated, "JSON parsing failed - EOF while parsing a value"),
        (b"{\"fvBD\":{\"attributes\":{\"name\":\"b\"", Flaw::Truncated, "line: 1, column: 33"),
        (b"{\"fvBD\":\n{\"attributes\":{name:\"b\"}}}", Flaw::Syntax, "line: 2"),
        (b"{\"fvBD\":{\"attributes\":{}}} x", Flaw::Syntax, "trailing characters"),
        (
            b"{\"fvBD\":{\"attributes\":{\"name\":1}}}",
            Flaw::Shape,
            "attribute 'name' must be a text",
        ),
        (b"{\"fvBD\":{\"attributes\":{\"name\":null}}}", Flaw::Shape, "must be a text"),
        (b"{\"fvBD\":{\"attributes\":{\"name\":[]}}}", Flaw::Shape, "must be a text"),
        (
            b"{\"fvBD\":{\"attributes\":{\"a\":\"1\",\"a\":\"2\"}}}",
            Flaw::Shape,
            "'a' is given twice",
        ),
        (b"{\"fvBD\":{}}", Flaw::Shape, "Attributes are missing, tag 'attributes' must be"),
        (b"{\"fvBD\":{\"attributes\":{},\"kids\":[]}}", Flaw::Shape, "Unknown tag 'kids'"),
        (b"{\"fvBD\":{\"attributes\":{}},\"fvAp\":{}}", Flaw::Shape, "Two classes"),
        (b"{}", Flaw::Shape, "without a class"),
        (b"[]", Flaw::Shape, "expected an object such as"),
        (b"\"text\"", Flaw::Shape, "expected an object such as"),
        (b"{\"fvBD\":{\"attributes\":{},\"children\":{}}}", Flaw::Shape, "a list of objects"),
        (b"{\"fvBD\":{\"attributes\":{},\"children\":[1]}}", Flaw::Shape, "an object"),
        (b"{\"fvBD\":{\"attributes\":{\"name\":\"\xff\"}}}", Flaw::Syntax, "invalid unicode"),
    ];
    for (body, flaw, text) in cases {
        let error = json::parse(body).unwrap_err();
        let shown = String::from_utf8_lossy(body);
        assert_eq!(error.flaw, *flaw, "{shown}: {error}");
        assert!(error.to_string().contains(text), "{shown}: {error}");
    }
}

#[test]
fn depth_has_a_bound() {
    let nest = |open: &str, close: &str, levels: usize| {
        format!(
            "{}{{\"fvAp\":{{\"attributes\":{{}}}}}}{}",
            open.repeat(levels),
            close.repeat(levels)
        )
    };
    let open = "{\"fvAp\":{\"attributes\":{},\"children\":[";
    assert!(json::parse(nest(open, "]}}", MAX_DEPTH).as_bytes()).is_ok());
    let error = json::parse(nest(open, "]}}", MAX_DEPTH + 1).as_bytes()).unwrap_err();
    assert!(error.to_string().contains("More than 32 levels"), "{error}");
    assert!(json::parse(nest(open, "]}}", 100_000).as_bytes()).is_err());
    let lists = format!("{open}{}{}]}}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(json::parse(lists.as_bytes()).is_err());
    assert!(json::parse("[".repeat(1_000_000).as_bytes()).is_err());
}

#[test]
fn an_answer_names_its_root_by_dn_and_what_is_below_by_rn() {
    let tree = acme();
    let scope = Scope::Object(dn("uni/tn-acme/BD-b"));
    let parameters = [
        ("rsp-subtree", "children"),
        ("rsp-subtree-class", "fvSubnet"),
        ("rsp-prop-include", "naming-only"),
    ];
    let query = Query::parse(scope, parameters).unwrap();
    assert_eq!(
        json::answer(&query.run(&tree)),
        r#"{"totalCount":"1","imdata":[{"fvBD":{"attributes":{"dn":"uni/tn-acme/BD-b","name":"b"},"#
            .to_owned()
            + r#""children":[{"fvSubnet":{"attributes":{"rn":"subnet-[10.0.0.1/24]","ip":"10.0.0.1/24"}}}]}}]}"#
    );
    let nothing = Query::parse(Scope::Object(dn("uni/tn-none")), []).unwrap();
    assert_eq!(json::answer(&nothing.run(&tree)), r#"{"totalCount":"0","imdata":[]}"#);
}

#[test]
fn secrets_are_never_shown() {
    let mut tree = acme();
    let user = Post::new("aaaUser").with("name", "eve").with("pwd", "secret").with("phone", "1");
    post(&mut tree, "uni/userext", user).unwrap();
    let query = Query::parse(Scope::Object(dn("uni/userext/user-eve")), []).unwrap();
    let text = json::answer(&query.run(&tree));
    assert!(text.contains("\"phone\":\"1\""), "{text}");
    assert!(!text.contains("pwd") && !text.contains("secret"), "{text}");
}

#[test]
fn a_change_is_answered_as_one_tree() {
    let mut tree = acme();
    let body = Post::new("fvTenant")
        .with("name", "acme")
        .with("descr", "new")
        .child(Post::new("fvAp").with("name", "x").child(Post::new("fvAEPg").with("name", "e")))
        .child(Post::new("fvBD").with("name", "b").with("status", "deleted"));
    let changes = post(&mut tree, "uni", body.clone()).unwrap();
    let text = json::answer(&modified(&changes));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let tenant = &value["imdata"][0]["fvTenant"];
    assert_eq!(value["totalCount"], "1");
    assert_eq!(tenant["attributes"]["status"], "modified");
    assert_eq!(tenant["attributes"]["dn"], "uni/tn-acme");
    let children = tenant["children"].as_array().unwrap();
    assert_eq!(children[0]["fvAp"]["attributes"]["status"], "created");
    assert_eq!(children[0]["fvAp"]["children"][0]["fvAEPg"]["attributes"]["rn"], "epg-e");
    let bd = children.iter().find(|child| child.get("fvBD").is_some()).unwrap();
    assert_eq!(bd["fvBD"]["attributes"]["status"], "deleted");
    assert_eq!(bd["fvBD"]["attributes"]["name"], "b");
    let again = Post::new("fvTenant").with("name", "acme").with("descr", "new");
    let changes = post(&mut tree, "uni", again).unwrap();
    assert_eq!(json::answer(&modified(&changes)), r#"{"totalCount":"0","imdata":[]}"#);
}

#[test]
fn a_refusal_is_shaped_like_apics_and_holds_every_reason() {
    let body =
        Post::new("fvTenant").with("name", "acme").with("nam", "x").child(Post::new("fvBDs"));
    let text = json::refusals(&post(&mut acme(), "uni", body).unwrap_err());
    assert_eq!(
        text,
        r#"{"totalCount":"2","imdata":[{"error":{"attributes":{"code":"400","text":"unknown attribute 'nam' in element 'fvTenant' (did you mean `name`?)"}}},"#
            .to_owned()
            + r#"{"error":{"attributes":{"code":"122","text":"unknown managed object class fvBDs (did you mean `fvBD`?)"}}}]}"#
    );
}
