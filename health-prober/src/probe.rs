//! One probe: a fresh connection each time, so that a black hole is seen at once; the status line decides, or the
//! word of a gRPC health service.
//!
//! Owns the bytes on the wire. Refuses to follow redirects, to look at bodies, and to judge certificates: a probe
//! sends no secret and asks only whether the endpoint answers.

mod grpc;

use grpc::Question;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tidegate_domain::{CheckKind, Mono};
use tidegate_gossip::shell::Clock;
use tidegate_prober::Ended;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

const USER_AGENT: &str = "tidegate-health-prober";
/// The longest head of an answer that is read.
const HEAD_MAX: usize = 8 * 1024;
/// How much of an answer, and for how long, is taken after the result is known.
const REST_MAX: u64 = 64 * 1024;
const REST_WAIT: Duration = Duration::from_millis(50);

/// What is asked, prepared once per target.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Tcp,
    Http { request: Arc<[u8]>, tls: Option<ServerName<'static>> },
    Grpc { question: Arc<Question>, tls: Option<ServerName<'static>> },
}

impl Ask {
    /// None when the host of a check is no server name, or no authority.
    pub(crate) fn new(kind: &CheckKind, host: &str, port: u16) -> Option<Self> {
        match kind {
            CheckKind::Tcp => Some(Self::Tcp),
            CheckKind::Http { path, tls, host: named } => {
                let authority = authority(named.as_deref(), host, port, *tls);
                let request = format!(
                    "GET {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: {USER_AGENT}\r\naccept: */*\r\nconnection: close\r\n\r\n"
                );
                let tls = server_name(*tls, named.as_deref().unwrap_or(host)).ok()?;
                Some(Self::Http { request: Arc::from(request.into_bytes()), tls })
            }
            CheckKind::Grpc { service, tls, host: named } => {
                let authority = authority(named.as_deref(), host, port, *tls);
                let question = Arc::new(Question::new(&authority, *tls, service)?);
                Some(Self::Grpc { question, tls: server_name(*tls, named.as_deref().unwrap_or(host)).ok()? })
            }
        }
    }
}

/// A name that was configured is sent as it stands; the target's own host gets its port, where that is not the usual one.
fn authority(named: Option<&str>, host: &str, port: u16, tls: bool) -> String {
    let name = named.unwrap_or(host);
    let bracketed = if name.parse::<Ipv6Addr>().is_ok() { format!("[{name}]") } else { name.to_owned() };
    let usual = if tls { 443 } else { 80 };
    if named.is_some() || port == usual { bracketed } else { format!("{bracketed}:{port}") }
}

/// The name to ask for in TLS, without a port; none where there is no TLS.
fn server_name(tls: bool, name: &str) -> Result<Option<ServerName<'static>>, InvalidDnsNameError> {
    if !tls {
        return Ok(None);
    }
    let with_port = name.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    let bare = with_port.filter(|_| name.parse::<Ipv6Addr>().is_err()).map_or(name, |(host, _)| host);
    ServerName::try_from(bare.to_owned()).map(Some)
}

/// What is left of a probe when its result is known.
enum Rest {
    /// Bytes to be read.
    Answer(Box<dyn AsyncRead + Send + Unpin>),
    /// Tasks that close a connection.
    Closing(JoinSet<()>),
}

/// What a probe came to, by the clock that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probed {
    pub(crate) ended: Ended,
    /// When it had ended.
    pub(crate) at: Mono,
    /// When its connection was open, also where no answer came in time.
    pub(crate) opened: Option<Mono>,
}

/// Runs one probe of at most `limit`.
pub(crate) async fn probe(ask: Ask, to: SocketAddr, tls: Connectors, limit: Duration, clock: Clock) -> Probed {
    let mut opened = None;
    let asked = async {
        let Ok(stream) = TcpStream::connect(to).await else { return (Ended::Connect, None) };
        opened = Some(clock.now());
        answer(ask, stream, tls, limit).await
    };
    let (ended, rest) = timeout(limit, asked).await.unwrap_or((Ended::Timeout, None));
    let at = clock.now();
    // Closing on unread bytes, or on an open stream, would reset the connection, and the endpoint would log it as
    // an error. Past this bound it has to.
    match rest {
        Some(Rest::Answer(rest)) => {
            let mut rest = rest.take(REST_MAX);
            let _ = timeout(REST_WAIT, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
        }
        Some(Rest::Closing(mut tasks)) => {
            let _ = timeout(REST_WAIT, async { while tasks.join_next().await.is_some() {} }).await;
        }
        None => {}
    }
    Probed { ended, at, opened }
}

async fn answer(ask: Ask, stream: TcpStream, tls: Connectors, limit: Duration) -> (Ended, Option<Rest>) {
    match ask {
        Ask::Tcp => (Ended::Ok, None),
        Ask::Http { request, tls: None } => exchange(stream, &request).await,
        Ask::Http { request, tls: Some(name) } => match tls.http.connect(name, stream).await {
            Ok(stream) => exchange(stream, &request).await,
            Err(_) => (Ended::Tls, None),
        },
        Ask::Grpc { question, tls: name } => {
            // HTTP/2 opens with several small writes: none may wait for the acknowledgement of the one before.
            let _ = stream.set_nodelay(true);
            let Some(name) = name else { return grpc::check(stream, &question, limit).await };
            match tls.grpc.connect(name, stream).await {
                Ok(stream) => grpc::check(stream, &question, limit).await,
                Err(_) => (Ended::Tls, None),
            }
        }
    }
}

async fn exchange<S>(mut stream: S, request: &[u8]) -> (Ended, Option<Rest>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    if stream.write_all(request).await.is_err() {
        return (Ended::Protocol, None);
    }
    let mut head = Vec::with_capacity(512);
    loop {
        match stream.read_buf(&mut head).await {
            Ok(0) | Err(_) => return (Ended::Protocol, None),
            Ok(_) => {}
        }
        if let Some(ended) = status(&mut head) {
            return (ended, Some(Rest::Answer(Box::new(stream))));
        }
        if head.len() > HEAD_MAX {
            return (Ended::Protocol, None);
        }
    }
}

/// Reads the final status line as soon as it is whole; none: more bytes are needed. Interim answers (1xx) are
/// taken off the front.
pub(crate) fn status(head: &mut Vec<u8>) -> Option<Ended> {
    loop {
        let line = head.windows(2).position(|pair| pair == b"\r\n")?;
        let Some(code) = code(&head[..line]) else { return Some(Ended::Protocol) };
        match code {
            100..=199 => {
                let end = head.windows(4).position(|four| four == b"\r\n\r\n")?;
                head.drain(..end + 4);
            }
            200..=299 => return Some(Ended::Ok),
            _ => return Some(Ended::Status),
        }
    }
}

/// `HTTP/1.x`, a code of three digits, and a reason, which may hold any byte (RFC 9112, section 4).
fn code(line: &[u8]) -> Option<u16> {
    let [minor, b' ', code @ ..] = line.strip_prefix(b"HTTP/1.")? else { return None };
    let (code, reason) = code.split_at_checked(3)?;
    let digits = minor.is_ascii_digit() && code.iter().all(u8::is_ascii_digit);
    let ends = reason.first().is_none_or(|b| *b == b' ');
    let code = code.iter().fold(0, |code, digit| 10 * code + u16::from(digit.wrapping_sub(b'0')));
    (digits && ends && code >= 100).then_some(code)
}

/// Connectors that take any certificate with a valid handshake signature.
#[derive(Clone)]
pub(crate) struct Connectors {
    http: TlsConnector,
    /// Offers HTTP/2 alone: gRPC servers refuse a session without it.
    grpc: TlsConnector,
}

pub(crate) fn connectors() -> anyhow::Result<Connectors> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let any = Arc::new(AnyCertificate(provider));
    let http = builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth();
    let mut grpc = http.clone();
    grpc.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Connectors { http: TlsConnector::from(Arc::new(http)), grpc: TlsConnector::from(Arc::new(grpc)) })
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use std::sync::Mutex;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    /// With a certificate for `name` that nobody vouches for.
    pub(super) fn server_config(name: &str) -> ServerConfig {
        let own = rcgen::generate_simple_self_signed(vec![name.to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .expect("a server")
    }

    /// Answers one request with `status` behind a certificate that nobody vouches for; notes the server name asked for.
    async fn behind_tls(listener: TcpListener, status: &'static str, asked: Arc<Mutex<Option<String>>>) {
        let config = server_config("elsewhere.example");
        let (stream, _) = listener.accept().await.expect("a probe");
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return };
        *asked.lock().expect("lock") = stream.get_ref().1.server_name().map(str::to_owned);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {}
        let _ = stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
        let _ = stream.shutdown().await;
    }

    fn https(host: Option<&str>) -> Ask {
        let kind = CheckKind::Http { path: "/healthz".to_owned(), tls: true, host: host.map(str::to_owned) };
        Ask::new(&kind, "127.0.0.1", 443).expect("a question")
    }

    async fn asked_of(serve: impl AsyncFnOnce(TcpListener) + Send + 'static, ask: Ask) -> Ended {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let limit = Duration::from_secs(5);
        let asked = probe(ask, at, connectors().expect("connectors"), limit, Clock::start());
        tokio::join!(asked, serve(listener)).0.ended
    }

    #[tokio::test]
    async fn an_https_endpoint_is_judged_by_its_status_and_not_by_its_certificate() {
        for (status, ended) in [("200 OK", Ended::Ok), ("503 Service Unavailable", Ended::Status)] {
            let name = Arc::new(Mutex::new(None));
            let heard = Arc::clone(&name);
            let serve = async move |listener| behind_tls(listener, status, heard).await;
            assert_eq!(asked_of(serve, https(Some("payroll.example"))).await, ended);
            assert_eq!(name.lock().expect("lock").as_deref(), Some("payroll.example"), "the name that was configured");
        }
    }

    #[tokio::test]
    async fn what_does_not_speak_tls_fails_an_https_probe() {
        let plain = async |listener: TcpListener| {
            let (mut stream, _) = listener.accept().await.expect("a probe");
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        };
        assert_eq!(asked_of(plain, https(None)).await, Ended::Tls);
    }

    #[test]
    fn addresses_are_written_as_http_wants_them() {
        let of = |named, host, port, tls| authority(named, host, port, tls);
        assert_eq!(of(None, "a.example", 8080, false), "a.example:8080");
        assert_eq!(of(None, "a.example", 443, true), "a.example");
        assert_eq!(of(Some("b.example:9"), "a.example", 8080, false), "b.example:9");
        assert_eq!(of(None, "::1", 8080, false), "[::1]:8080");
        assert_eq!(of(Some("::1"), "::1", 8080, false), "[::1]", "as the servers hand it out");
        let name = |name| server_name(true, name).ok().flatten().map(|name| name.to_str().into_owned());
        assert_eq!(name("b.example:9"), name("b.example"));
        assert_eq!(name("::1").as_deref(), Some("::1"));
        assert_eq!(name("no name"), None);
        assert!(server_name(false, "no name").is_ok_and(|name| name.is_none()));
    }
}
