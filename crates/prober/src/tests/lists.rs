//! Lists at the border, from both sides.

use crate::{Assignment, List, handout, peers_left_out};
use tidegate_domain::{
    Check, CheckKind, Endpoint, Fleet, Listener, Millis, Name, Provider, ProviderApi, ProviderIx, Reference, RegionIx,
    Revision, Service, ServiceIx, Vantage,
};
use tidegate_proto::v1;

fn wire() -> v1::TargetList {
    let target = v1::Target {
        endpoint: "e0".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: 80,
        assigned: true,
        check: Some(v1::Check {
            kind: Some(v1::check::Kind::Tcp(v1::TcpCheck {})),
            interval_ms: 500,
            timeout_ms: 1_000,
            unhealthy_after: 3,
            healthy_after: 2,
        }),
    };
    v1::TargetList { format: 1, revision: vec![1; 32], targets: vec![target], references: vec![], peers: vec![] }
}

#[test]
fn bad_lists_are_refused_whole() {
    let refused = |change: fn(&mut v1::TargetList)| {
        let mut list = wire();
        change(&mut list);
        List::try_from(&list).unwrap_err().to_string()
    };
    assert!(refused(|l| l.format = 2).contains("format 2"));
    assert!(refused(|l| l.revision = vec![1; 8]).contains("8 bytes"));
    assert!(refused(|l| l.targets[0].port = 70_000).contains("bad port"));
    assert!(refused(|l| l.targets[0].check = None).contains("no check"));
    assert!(refused(|l| l.targets[0].check.as_mut().unwrap().interval_ms = 0).contains("interval"));
    assert!(
        refused(|l| l.references.push(v1::ReferenceHost { address: "x".to_owned(), ..Default::default() }))
            .contains("host:port")
    );
    for host in ["", "a b", "a\r\nx: y"] {
        let mut list = wire();
        host.clone_into(&mut list.targets[0].host);
        assert!(List::try_from(&list).unwrap_err().to_string().contains("a host"), "{host:?}");
    }
    assert!(
        refused(|l| l.references.push(v1::ReferenceHost { address: "[]:53".to_owned(), ..Default::default() }))
            .contains("host:port")
    );
    let path = |l: &mut v1::TargetList| {
        let http = v1::HttpCheck { path: "/a\r\nx: y".to_owned(), ..Default::default() };
        l.targets[0].check.as_mut().unwrap().kind = Some(v1::check::Kind::Http(http));
    };
    assert!(refused(path).contains("path"), "no header can be smuggled in");
    let service = |l: &mut v1::TargetList| {
        let grpc = v1::GrpcCheck { service: "a\r\nb".to_owned(), ..Default::default() };
        l.targets[0].check.as_mut().unwrap().kind = Some(v1::check::Kind::Grpc(grpc));
    };
    assert!(refused(service).contains("gRPC service"));
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn service(of: &str, kind: CheckKind) -> Service {
    let check = Check { kind, interval: Millis(500), timeout: Millis(400), unhealthy_after: 2, healthy_after: 3 };
    let listener = Listener { name: name("public"), address: "0.0.0.0".to_owned(), port: 8443 };
    let (domains, routes, classes) = (Vec::new(), Vec::new(), Vec::new());
    Service { name: name(of), listener, domains, routes, classes, unmatched: None, check }
}

/// An endpoint in each of five regions: by address over HTTP, by name over HTTPS with a host of its own, TCP, gRPC.
fn fleet() -> Fleet {
    let http = |tls, host: Option<&str>| CheckKind::Http { path: "/up".to_owned(), tls, host: host.map(str::to_owned) };
    let grpc = |service: &str, host: Option<&str>| CheckKind::Grpc {
        service: service.to_owned(),
        tls: host.is_some(),
        host: host.map(str::to_owned),
    };
    let endpoint = |at: usize, host: &str| Endpoint {
        name: name(&format!("e{at}")),
        service: ServiceIx::from(at),
        region: RegionIx::from(at),
        host: host.to_owned(),
        port: 8000,
    };
    Fleet {
        revision: Revision([7; 32]),
        services: vec![
            service("plain", http(false, None)),
            service("named", http(true, Some("named.example"))),
            service("tcp", CheckKind::Tcp),
            service("grpc", grpc("", None)),
            service("asked", grpc("a.B", Some("asked.example"))),
        ],
        endpoints: vec![
            endpoint(0, "10.0.0.1"),
            endpoint(1, "one.example"),
            endpoint(2, "::1"),
            endpoint(3, "10.0.0.3"),
            endpoint(4, "four.example"),
        ],
        vantages: vec![Vantage { name: name("v0"), region: RegionIx(0), gossip: "10.0.0.9:7946".to_owned() }],
        references: vec![Reference { name: name("r0"), address: "[2001:db8::1]:53".to_owned(), network: name("n0") }],
        providers: vec![Provider { name: name("aws") }, Provider { name: name("gcp") }],
        apis: ["api.aws.example", "api.gcp.example"].iter().enumerate().map(|(i, host)| api(i, host)).collect(),
        ..Fleet::default()
    }
}

fn api(provider: usize, host: &str) -> ProviderApi {
    let kind = CheckKind::Http { path: "/ping".to_owned(), tls: true, host: None };
    let (interval, timeout) = (Millis(5_000), Millis(3_000));
    let check = Check { kind, interval, timeout, unhealthy_after: 3, healthy_after: 3 };
    ProviderApi { provider: ProviderIx::from(provider), host: host.to_owned(), port: 443, check }
}

#[test]
fn providers_apis_follow_the_endpoints() {
    let fleet = fleet();
    let mine = Assignment { regions: vec![true], apis: vec![false, true] };
    let list = List::try_from(&handout(&fleet, &mine, &[])).unwrap();
    assert_eq!(list.targets.len(), fleet.targets());
    let apis: Vec<(&str, &str, bool)> = list.targets[fleet.endpoints.len()..]
        .iter()
        .map(|t| (t.endpoint.as_str(), t.host.as_str(), t.assigned))
        .collect();
    assert_eq!(apis, [("api/aws", "api.aws.example", false), ("api/gcp", "api.gcp.example", true)]);
    let sent = CheckKind::Http { path: "/ping".to_owned(), tls: true, host: Some("api.gcp.example".to_owned()) };
    assert_eq!(list.targets.last().unwrap().check.kind, sent);
}

#[test]
fn what_is_handed_out_is_taken_and_says_what_the_fleet_says() {
    let fleet = fleet();
    let wire = handout(
        &fleet,
        &Assignment { regions: vec![true, false], apis: vec![true] },
        &["10.0.0.8:7946".to_owned(), "no address".to_owned()],
    );
    let list = List::try_from(&wire).unwrap();
    assert_eq!(list.revision, fleet.revision);
    assert_eq!(
        list.targets.iter().map(|t| t.assigned).collect::<Vec<_>>(),
        [true, false, false, false, false, true, false]
    );
    for (target, endpoint) in list.targets.iter().zip(&fleet.endpoints) {
        assert_eq!((target.endpoint.as_str(), &target.host), (endpoint.name.as_str(), &endpoint.host));
        assert_eq!(target.port, endpoint.port);
        let mut declared = fleet.services[endpoint.service.at()].check.clone();
        if let CheckKind::Http { host: host @ None, .. } | CheckKind::Grpc { host: host @ None, .. } =
            &mut declared.kind
        {
            *host = Some(endpoint.host.clone());
        }
        assert_eq!(target.check, declared);
    }
    let reference = &list.references[0];
    assert_eq!((reference.host.as_str(), reference.port, reference.network.as_str()), ("2001:db8::1", 53, "n0"));
    assert_eq!(list.peers, ["10.0.0.9:7946".parse().unwrap(), "10.0.0.8:7946".parse().unwrap()]);
    assert_eq!(peers_left_out(&wire).collect::<Vec<_>>(), ["no address"]);
}
