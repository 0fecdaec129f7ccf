//! Probes of real gRPC servers on loopback.

use crate::probe::tests::server_config;
use crate::probe::{Ask, connectors, probe};
use std::net::SocketAddr;
use std::time::Duration;
use tidegate_domain::CheckKind;
use tidegate_gossip::shell::Clock;
use tidegate_prober::Ended;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_health::server::health_reporter;

/// Longer than any answer on loopback takes.
const LONG: Duration = Duration::from_secs(20);

fn ask(service: &str, tls: bool) -> Ask {
    let kind = CheckKind::Grpc { service: service.to_owned(), tls, host: Some("grpc.example".to_owned()) };
    Ask::new(&kind, "127.0.0.1", 80).expect("a question")
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    (listener, at)
}

async fn ended(ask: Ask, to: SocketAddr, limit: Duration) -> Ended {
    probe(ask, to, connectors().expect("connectors"), limit, Clock::start()).await.ended
}

#[tokio::test]
async fn serving_is_well_and_every_other_word_is_not() {
    let (listener, at) = listener().await;
    let (reporter, service) = health_reporter();
    reporter.set_service_status("a.Well", ServingStatus::Serving).await;
    reporter.set_service_status("a.Ill", ServingStatus::NotServing).await;
    reporter.set_service_status("a.Unknown", ServingStatus::Unknown).await;
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
    for (service, word) in [
        ("", Ended::Ok),
        ("a.Well", Ended::Ok),
        ("a.Ill", Ended::Status),
        ("a.Unknown", Ended::Status),
        ("a.Stranger", Ended::Status),
    ] {
        assert_eq!(ended(ask(service, false), at, LONG).await, word, "{service}");
    }
    reporter.set_service_status("a.Ill", ServingStatus::Serving).await;
    assert_eq!(ended(ask("a.Ill", false), at, LONG).await, Ended::Ok, "asked anew each time");
}

#[tokio::test]
async fn a_server_without_the_health_service_fails() {
    let (listener, at) = listener().await;
    let router = Server::builder().add_routes(tonic::service::Routes::default());
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    assert_eq!(ended(ask("", false), at, LONG).await, Ended::Status);
}

/// Speaks the protocol and never answers.
struct Silent;

#[tonic::async_trait]
impl Health for Silent {
    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        std::future::pending().await
    }
    type WatchStream = tokio_stream::Pending<Result<HealthCheckResponse, Status>>;
    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::pending()))
    }
}

#[tokio::test]
async fn no_answer_in_time_is_a_time_out_and_leaves_nothing_behind() {
    let limit = Duration::from_millis(200);
    // One that accepts and says nothing, as a frozen process does.
    let (frozen, at) = listener().await;
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    assert_eq!(ended(ask("", false), at, limit).await, Ended::Timeout);
    let gone = async {
        while alive() > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, gone).await.expect("the connection's tasks have ended");
    drop(frozen);
    // One that speaks HTTP/2 and never answers the question.
    let (listener, at) = listener().await;
    let server = Server::builder().add_service(HealthServer::new(Silent));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    assert_eq!(ended(ask("", false), at, limit).await, Ended::Timeout);
}

#[tokio::test]
async fn a_refused_connection_is_told_as_such() {
    let (listener, at) = listener().await;
    drop(listener);
    assert_eq!(ended(ask("", false), at, LONG).await, Ended::Connect);
}

#[tokio::test]
async fn what_speaks_no_http2_fails() {
    let (listener, at) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    assert_eq!(ended(ask("", false), at, LONG).await, Ended::Protocol);
    assert_eq!(ended(ask("", true), at, LONG).await, Ended::Tls);
}

/// A server that is closed without an answer is not one that answers badly.
#[tokio::test]
async fn a_connection_that_is_closed_fails() {
    let (listener, at) = listener().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop::<TcpStream>(stream)
        }
    });
    assert_eq!(ended(ask("", false), at, LONG).await, Ended::Protocol);
}

#[tokio::test]
async fn over_tls_the_word_counts_and_the_certificate_does_not() {
    let (listener, at) = listener().await;
    let mut config = server_config("elsewhere.example");
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
    let incoming = TcpListenerStream::new(listener).then(move |stream| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(stream?).await }
    });
    let (reporter, service) = health_reporter();
    reporter.set_service_status("a.Ill", ServingStatus::NotServing).await;
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    assert_eq!(ended(ask("", true), at, LONG).await, Ended::Ok);
    assert_eq!(ended(ask("a.Ill", true), at, LONG).await, Ended::Status);
}
