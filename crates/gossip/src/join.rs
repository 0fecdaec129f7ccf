//! Join tokens: how a new prober comes by the keyring though nobody copies keys by hand.
//!
//! Owns the token's form, the proof that one has it, the sealing of the keyring that is handed over, and which tokens are
//! open. A token is 8 bytes of name and 32 of secret; keys for proof and seal come from the secret by HKDF-SHA256 (RFC
//! 5869), the proof is an HMAC (RFC 2104), the seal ChaCha20-Poly1305 (RFC 8439) under a key of this one request. Neither
//! the token nor the keyring crosses the network in the clear, whatever carries it. Refuses clocks, sockets and chance:
//! they are handed in. Open tokens are kept in memory alone.

use crate::keyring::{Keyring, KeyringError, hex, hex_of};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{hkdf, hmac};
use std::collections::BTreeMap;
use std::fmt;
use tidegate_domain::{Millis, Mono, Name};
use tidegate_proto::v1::{JoinReply, JoinRequest};

/// Random bytes that make a token.
pub const TOKEN_BYTES: usize = ID + SECRET;
/// Random bytes of a request.
pub const NONCE_BYTES: usize = 16;
/// Tokens open at once.
const OPEN_MAX: usize = 256;
/// A token that nobody uses ends after so long at the latest.
pub const LASTS_MAX: Millis = Millis(24 * 3_600_000);

const ID: usize = 8;
const SECRET: usize = 32;
const PREFIX: &str = "tgj_";
const SALT: &[u8] = b"tidegate join 1";

/// Why a token was not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// As many as can be are open.
    #[error("{OPEN_MAX} join tokens are open; they end by themselves within a day")]
    TooMany,
    /// It would be open for too long, or for no time.
    #[error("a join token is open for at least a second and at most {LASTS_MAX}")]
    Lasts,
}

/// Why nothing was handed over. The token, if there is one, is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefusal {
    /// No token of this name is open here.
    #[error("the join token is unknown to this server, has ended, or the server was started anew: ask for another one")]
    Unknown,
    /// Another prober has used it.
    #[error("the join token was used already: if this prober did not, somebody else has it; change the gossip's keys")]
    Used,
    /// Whoever asks does not have the secret, or asks for another vantage than the token is for.
    #[error("the join token does not prove vantage `{vantage}`: it is cut short, or was given for another one")]
    Proof {
        /// Who it says it is.
        vantage: String,
    },
}

/// Why a token or an answer is of no use to the prober.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Not a token.
    #[error("this is no join token: `{PREFIX}` and {} hexadecimal digits are expected", 2 * TOKEN_BYTES)]
    Form,
    /// The answer does not open.
    #[error("the server's answer does not open: it does not come from the server that gave the token")]
    Forged,
    /// What was handed over is no keyring.
    #[error("the server handed over no keyring: {0}")]
    Keyring(#[from] KeyringError),
}

/// What both sides make of a secret.
struct Secret {
    prove: hmac::Key,
    seal: hkdf::Prk,
}
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// None: the library refuses, which it does for no input of these lengths.
    fn of(secret: &[u8]) -> Option<Self> {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(secret);
        let prove = hmac::Key::from(prk.expand(&[b"prove"], hmac::HMAC_SHA256).ok()?);
        Some(Self { prove, seal: prk })
    }

    fn proven(id: &[u8], vantage: &str, nonce: &[u8]) -> Vec<u8> {
        [id, nonce, vantage.as_bytes()].concat()
    }

    /// The key of one request: used once, so that its nonce may be constant.
    fn sealing(&self, nonce: &[u8]) -> Option<LessSafeKey> {
        let info = [b"seal".as_slice(), nonce];
        let key: UnboundKey = self.seal.expand(&info, &CHACHA20_POLY1305).ok()?.into();
        Some(LessSafeKey::new(key))
    }
}

fn once() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[derive(Debug)]
struct Open {
    vantage: Name,
    until: Mono,
    secret: Secret,
    /// The nonce of the request that it was used for, and the answer: one that was lost is given again, to the same request
    /// alone. Kept, not sealed anew: the keyring may be another by then, and a nonce is for one text.
    used: Option<(Vec<u8>, JoinReply)>,
}

/// The tokens that a server has given and that may still be used.
#[derive(Debug, Default)]
pub struct Invitations(BTreeMap<Vec<u8>, Open>);

impl Invitations {
    /// A token for one vantage, to be shown once; `random` makes it and must be unguessable.
    ///
    /// # Errors
    /// When too many are open or it would be open for too long. Nothing changed.
    pub fn invite(
        &mut self,
        vantage: Name,
        lasts: Millis,
        random: [u8; TOKEN_BYTES],
        now: Mono,
    ) -> Result<String, InviteError> {
        self.0.retain(|_, open| open.until > now);
        if self.0.len() >= OPEN_MAX {
            return Err(InviteError::TooMany);
        }
        if lasts < Millis(1_000) || lasts > LASTS_MAX {
            return Err(InviteError::Lasts);
        }
        let (id, secret) = random.split_at(ID);
        let secret = Secret::of(secret).ok_or(InviteError::Lasts)?;
        self.0.insert(id.to_vec(), Open { vantage, until: now + lasts, secret, used: None });
        Ok(format!("{PREFIX}{}", hex_of(&random)))
    }

    /// Hands `keyring` (its text) to whoever proves a token, once. A wrong proof uses nothing up.
    ///
    /// # Errors
    /// Why it is not handed over.
    pub fn redeem(&mut self, asked: &JoinRequest, keyring: &str, now: Mono) -> Result<(Name, JoinReply), JoinRefusal> {
        let JoinRequest { token, vantage, nonce, proof } = asked;
        let open = self.0.get_mut(token).filter(|open| open.until > now).ok_or(JoinRefusal::Unknown)?;
        let proven = Secret::proven(token, vantage, nonce);
        let good = hmac::verify(&open.secret.prove, &proven, proof).is_ok();
        if !good || nonce.len() != NONCE_BYTES || open.vantage.as_str() != vantage {
            return Err(JoinRefusal::Proof { vantage: vantage.chars().take(64).collect() });
        }
        match &open.used {
            Some((used, reply)) if used == nonce => return Ok((open.vantage.clone(), reply.clone())),
            Some(_) => return Err(JoinRefusal::Used),
            None => {}
        }
        let mut sealed = keyring.as_bytes().to_vec();
        let key = open.secret.sealing(nonce).ok_or(JoinRefusal::Unknown)?;
        let done = key.seal_in_place_append_tag(once(), Aad::from(vantage.as_bytes()), &mut sealed);
        done.map_err(|_| JoinRefusal::Unknown)?;
        let reply = JoinReply { sealed };
        open.used = Some((nonce.clone(), reply.clone()));
        Ok((open.vantage.clone(), reply))
    }
}

/// A prober that asks to be let in. It may ask again with the same request when an answer is lost.
#[derive(Debug)]
pub struct Joining {
    secret: Secret,
    request: JoinRequest,
}

impl Joining {
    /// `token` as a person was given it; `nonce` is random.
    ///
    /// # Errors
    /// When it is no token.
    pub fn new(token: &str, vantage: &Name, nonce: [u8; NONCE_BYTES]) -> Result<Self, JoinError> {
        let digits = token.trim().strip_prefix(PREFIX).ok_or(JoinError::Form)?;
        let bytes: [u8; TOKEN_BYTES] = hex(digits).ok_or(JoinError::Form)?;
        let (id, secret) = bytes.split_at(ID);
        let secret = Secret::of(secret).ok_or(JoinError::Form)?;
        let proof = hmac::sign(&secret.prove, &Secret::proven(id, vantage.as_str(), &nonce));
        let request = JoinRequest {
            token: id.to_vec(),
            vantage: vantage.to_string(),
            nonce: nonce.to_vec(),
            proof: proof.as_ref().to_vec(),
        };
        Ok(Self { secret, request })
    }

    /// What to send.
    #[must_use]
    pub fn request(&self) -> JoinRequest {
        self.request.clone()
    }

    /// The keyring's text out of the answer; it has been read as a keyring.
    ///
    /// # Errors
    /// When the answer is not of the server that gave the token, or holds no keyring.
    pub fn open(&self, reply: &JoinReply) -> Result<String, JoinError> {
        let mut sealed = reply.sealed.clone();
        let key = self.secret.sealing(&self.request.nonce).ok_or(JoinError::Forged)?;
        let opened = key.open_in_place(once(), Aad::from(self.request.vantage.as_bytes()), &mut sealed);
        let text = String::from_utf8_lossy(opened.map_err(|_| JoinError::Forged)?).into_owned();
        Keyring::parse(&text)?;
        Ok(text)
    }
}
