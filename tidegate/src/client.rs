//! Speaks HTTP/JSON to one server.

use crate::args::Global;
use crate::failure::Failure;
use futures::StreamExt;
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tidegate_api::{ApiError, EventLine};

pub(crate) struct Client {
    http: reqwest::Client,
    server: String,
    token: Option<String>,
}

impl Client {
    pub(crate) fn new(global: &Global) -> Result<Self, Failure> {
        let token = global.token_file.as_deref().map(read_token).transpose()?;
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .no_proxy()
            .build()
            .map_err(|e| Failure::new(format!("no HTTP client: {e}"), ""))?;
        Ok(Self { http, server: global.server.trim_end_matches('/').to_owned(), token })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.server));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|e| {
            let why = if e.is_connect() { "nothing answers there" } else { "the request broke off" };
            Failure::new(
                format!("server {}: {why} ({e})", self.server),
                "name a live server with --server or TIDEGATE_SERVER; the edges go on without one",
            )
            .retryable()
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.text().await.unwrap_or_default();
        Err(serde_json::from_str::<ApiError>(&body).map_or_else(
            |_| Failure::new(format!("server {} answered {status}: {body}", self.server), "is this a Tidegate server?"),
            Failure::from,
        ))
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, Failure> {
        response.json().await.map_err(|e| {
            Failure::new(
                format!("server {}: its answer cannot be read: {e}", self.server),
                "are server and command of one version?",
            )
        })
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let response = self.send(self.request(Method::GET, path).timeout(Duration::from_secs(10))).await?;
        self.read(response).await
    }

    pub(crate) async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T, Failure> {
        let response = self.send(self.request(Method::POST, path).timeout(Duration::from_secs(30)).json(body)).await?;
        self.read(response).await
    }

    /// Hands every event line to `each` until the stream ends, by the server's will or not: a stream that was asked to
    /// stay has broken off whenever it ends.
    pub(crate) async fn events(&self, path: &str, each: impl Fn(EventLine)) -> Result<(), Failure> {
        let response = self.send(self.request(Method::GET, path)).await?;
        let mut stream = response.bytes_stream();
        let mut rest = Vec::new();
        while let Some(part) = stream.next().await {
            let part = part.map_err(|e| {
                Failure::new(format!("the stream of events broke off: {e}"), "run it again").retryable()
            })?;
            rest.extend_from_slice(&part);
            while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if let Ok(event) = serde_json::from_slice(&line) {
                    each(event);
                }
            }
        }
        Ok(())
    }
}

fn read_token(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let meta = std::fs::metadata(path).map_err(|e| {
        Failure::usage(format!("token file {shown}: {e}"), "name it with --token-file or TIDEGATE_TOKEN_FILE")
    })?;
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(Failure::usage(format!("token file {shown} can be read by others"), format!("chmod 600 {shown}")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| Failure::usage(format!("token file {shown}: {e}"), ""))?;
    Ok(text.trim().to_owned())
}
