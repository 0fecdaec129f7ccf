//! What people ask for over the API: the handler, the loop behind it, and what is then shown and on record.

use super::Stand;
use crate::{clock, http};
use anyhow::{Context, Result};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use std::pin::pin;
use tidegate_api::tokens::{Role, new_token};
use tidegate_api::{ApiError, Audit, Done, Verdicts};
use tidegate_controller::Input;
use tidegate_domain::{Millis, ProviderIx};
use tower::ServiceExt;

impl Stand {
    /// Posts with this token, and does as the loop does until there is an answer.
    async fn post(&mut self, path: &str, token: Option<&str>, body: &Value) -> Result<(StatusCode, String)> {
        let mut request = Request::post(path).header("content-type", "application/json");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Body::from(body.to_string()))?;
        let mut call = pin!(http::router(self.app.clone()).oneshot(request));
        let response = loop {
            tokio::select! {
                response = &mut call => break response?,
                input = self.asked.recv() => self.take(input.context("nobody asks any more")?)?,
            }
        };
        // Whoever is refused gets the answer and waits for no record of it.
        while let Ok(input) = self.asked.try_recv() {
            self.take(input)?;
        }
        // What the loop itself refused is written when it turns next.
        self.take(Input::Tick)?;
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await?;
        Ok((status, String::from_utf8(body.to_vec())?))
    }

    async fn says(&mut self, provider: &str, body: &Value) -> Result<(StatusCode, String)> {
        let token = self.token.clone();
        self.post(&format!("/v1/providers/{provider}/api"), Some(&token), body).await
    }

    async fn done(&mut self, provider: &str, body: &Value) -> Result<Done> {
        let (status, text) = self.says(provider, body).await?;
        anyhow::ensure!(status == StatusCode::OK, "{status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }

    async fn troubled(&self) -> Result<Vec<String>> {
        let verdicts: Verdicts = self.get("/v1/verdicts").await?;
        Ok(verdicts.findings.into_iter().filter(|f| f.kind == "api").map(|f| f.name).collect())
    }

    /// How long the word on a provider's API still counts.
    fn left(&self, provider: &str) -> Option<Millis> {
        let model = self.app.model.load_full()?;
        let of = |p: ProviderIx| model.fleet.providers[p.at()].name.as_str() == provider;
        model.intents.api_words.iter().find(|w| of(w.provider)).map(|w| w.until - clock::wall())
    }
}

#[tokio::test]
async fn a_word_on_a_providers_api_is_taken_shown_and_taken_back() -> Result<()> {
    let mut stand = Stand::new()?;
    let trouble = json!({"word": "trouble", "for_ms": 3_600_000, "reason": "  their page says so "});
    let done = stand.done("aws", &trouble).await?;
    assert_eq!(done.sentences, ["aws keeps its traffic; nothing but safety moves changes what it carries"]);
    assert!(done.changed && done.api_version == "tidegate/v1", "{done:?}");
    assert_eq!(stand.troubled().await?, ["aws"]);
    let left = stand.left("aws").context("no word stands")?;
    assert!(left <= Millis(3_600_000) && left > Millis(3_500_000), "{left}");
    // The newest word stands in place of the one before, and counts for four hours where no time is named.
    stand.done("gcp", &json!({"word": "trouble", "reason": "a test"})).await?;
    let left = stand.left("gcp").context("no word stands")?;
    assert!(left <= Millis(14_400_000) && left > Millis(14_300_000), "{left}");
    let done = stand.done("aws", &json!({"word": "well", "reason": "we asked them"})).await?;
    assert_eq!(done.sentences, ["the API of aws counts as well, whatever the probes see"]);
    assert_eq!(stand.troubled().await?, ["gcp"]);
    let forget = json!({"word": "forget", "reason": "it is over"});
    assert!(stand.done("gcp", &forget).await?.changed && stand.troubled().await?.is_empty());
    assert_eq!(stand.left("gcp"), None);
    assert!(!stand.done("gcp", &forget).await?.changed, "there is nothing to take back");
    // Who said what and why is on record, in its order.
    let audit: Audit = stand.get("/v1/audit").await?;
    let said: Vec<(&str, &str)> = audit.acts.iter().map(|a| (a.kind.as_str(), a.about.as_str())).collect();
    assert_eq!(said, [("api", "aws"), ("api", "gcp"), ("api", "aws"), ("api", "gcp")]);
    assert!(audit.acts.iter().all(|a| a.by.as_deref() == Some("anna")), "{audit:?}");
    assert!(audit.acts[0].text.ends_with(": their page says so."), "{}", audit.acts[0].text);
    Ok(())
}

#[tokio::test]
async fn what_no_word_on_an_api_can_be_is_refused_and_on_record() -> Result<()> {
    let (viewer, line) = new_token("vera", Role::Viewer, None).map_err(anyhow::Error::msg)?;
    let mut stand = Stand::with_tokens(&line)?;
    let word = |word: &str, reason: &str| json!({"word": word, "reason": reason});
    let lasting = |ms: u64| json!({"word": "trouble", "for_ms": ms, "reason": "a test"});
    let (bad, unknown) = ((StatusCode::BAD_REQUEST, "TG-1003"), (StatusCode::NOT_FOUND, "TG-1004"));
    for (provider, body, (status, code), lift, recorded) in [
        ("aws", word("broken", "a test"), bad, "trouble, well or forget", true),
        ("aws", word("trouble", "  "), bad, "say in a few words why", true),
        ("awz", word("trouble", "a test"), unknown, "name one of: aws, azure, gcp", true),
        ("aws", lasting(999), bad, "1s to 7d", true),
        ("aws", lasting(7 * 86_400_000 + 1), bad, "1s to 7d", true),
        ("aws", json!({"word": "trouble", "reason": "a test", "for": "2h"}), bad, "openapi.json", false),
    ] {
        let records = stand.end()?;
        let (got, text) = stand.says(provider, &body).await?;
        let error: ApiError = serde_json::from_str(&text).with_context(|| format!("{body}: {text}"))?;
        assert_eq!((got, error.code.as_str()), (status, code), "{body}: {error:?}");
        assert!(error.lift.contains(lift), "{body}: {error:?}");
        assert_eq!(stand.end()? > records, recorded, "{body}");
    }
    let path = "/v1/providers/aws/api";
    let (status, text) = stand.post(path, Some(&viewer), &word("trouble", "a test")).await?;
    assert!(status == StatusCode::FORBIDDEN && text.contains("needs the role operator"), "{status}: {text}");
    let (status, _) = stand.post(path, None, &word("trouble", "a test")).await?;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(stand.troubled().await?.is_empty() && stand.left("aws").is_none(), "nothing stands");
    let denied = stand.events("from=0&denied=true").await?;
    let by: Vec<&str> = denied.iter().filter_map(|e| e.by.as_deref()).collect();
    assert_eq!(by, ["anna", "anna", "anna", "anna", "anna", "vera"], "{denied:?}");
    Ok(())
}
