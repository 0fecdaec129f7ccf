//! The fuzzer's corpus, run again. Its seeds are what the control plane sends: `UPDATE_GOLDEN=1 cargo test -p edge-proxy
//! corpus` writes them anew.

#[path = "../../fuzz/replay.rs"]
mod replay;

use crate::fuzzing;
use crate::lkg::{self, Saved, SavedResource};
use crate::tests::resources as of;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, Resource};
use envoy_types::pb::google::protobuf::Any;
use prost::Message;
use std::net::SocketAddr;
use tidegate_xds::TypeUrl;

const CLASS: &str = "payroll/eu";

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, last], 8080))
}

/// By type: name and content.
fn resources() -> Vec<(TypeUrl, &'static str, Vec<u8>)> {
    let places = [
        of::at("aws/eu-central-1", "DE", 7_000, &[address(1), address(2)]),
        of::at("gcp/europe-west3", "DE", 3_000, &[address(3)]),
        of::At { priority: 1, ..of::at("azure/germany", "DE", 1, &[address(4)]) },
        of::at("azure/draining", "DE", 0, &[address(5)]),
    ];
    vec![
        (TypeUrl::Cds, CLASS, of::cluster(CLASS, &["DE", "NL"]).encode_to_vec()),
        (TypeUrl::Eds, CLASS, of::assignment(CLASS, &places, 250).encode_to_vec()),
        (TypeUrl::Lds, "public", of::listener("public", address(9)).encode_to_vec()),
        (TypeUrl::Rds, "public", of::routes("public", &[CLASS], &["payroll/us"], of::TIMES).encode_to_vec()),
    ]
}

fn response(type_url: TypeUrl, name: &str, value: Vec<u8>) -> Vec<u8> {
    let any = Any { type_url: type_url.as_str().to_owned(), value };
    let resource =
        Resource { name: name.to_owned(), version: "1".to_owned(), resource: Some(any), ..Resource::default() };
    DeltaDiscoveryResponse {
        system_version_info: "7".to_owned(),
        resources: vec![resource],
        type_url: type_url.as_str().to_owned(),
        nonce: "1".to_owned(),
        removed_resources: vec!["gone".to_owned()],
        ..DeltaDiscoveryResponse::default()
    }
    .encode_to_vec()
}

fn saved() -> Saved {
    let resource = |(type_url, name, value): (TypeUrl, &str, Vec<u8>)| SavedResource {
        type_url: type_url.as_str().to_owned(),
        name: name.to_owned(),
        version: "1".to_owned(),
        value: value.into(),
    };
    Saved {
        group: "edge-de".to_owned(),
        wall_ms: 1_790_000_000_000,
        generation: Some(7),
        server: "gate-1".to_owned(),
        resources: resources().into_iter().map(resource).collect(),
    }
}

/// File name and content.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut add = |name: String, kind: u8, content: &[u8]| all.push((name, [&[kind], content].concat()));
    for (kind, (type_url, name, value)) in (0..).zip(resources()) {
        let short = type_url.short().to_ascii_lowercase();
        add(format!("refused-{short}-cut"), kind, &value[..value.len() - 1]);
        add(format!("response-{short}"), 4, &response(type_url, name, value.clone()));
        add(short, kind, &value);
    }
    let file = lkg::encode(&saved());
    add("refused-last-known-good-damaged".to_owned(), 5, &file[..file.len() - 1]);
    add("last-known-good".to_owned(), 5, &file);
    add("saved".to_owned(), 6, &saved().encode_to_vec());
    let half = Saved { resources: saved().resources.split_off(1), ..saved() };
    add("refused-saved-half".to_owned(), 6, &half.encode_to_vec());
    let silent = of::cluster(CLASS, &[]).encode_to_vec();
    add("refused-cds-nowhere".to_owned(), 0, &silent);
    add("refused-response-eds".to_owned(), 4, &response(TypeUrl::Eds, "other", resources().swap_remove(1).2));
    all
}

#[test]
fn the_corpus_is_taken_or_refused_as_its_names_say() {
    let folder = replay::folder("edge_model");
    for (name, content) in seeds() {
        assert_eq!(fuzzing::model(&content), !name.starts_with("refused-"), "{name} as it is made today");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(&name), &content).unwrap();
        }
        assert!(folder.join(&name).is_file(), "{name} is not in the corpus");
    }
    replay::replay("edge_model", fuzzing::model);
}
