//! Who is let in by a token, and who is not.

use crate::join::{Invitations, InviteError, JoinError, JoinRefusal, Joining, LASTS_MAX, NONCE_BYTES, TOKEN_BYTES};
use tidegate_domain::{Millis, Mono, Name};
use tidegate_proto::v1::{JoinReply, JoinRequest};

const RING: &str = "# made today\n00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n";
const HOUR: Millis = Millis(3_600_000);
const NOW: Mono = Mono(5_000_000_000);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn joining(token: &str, vantage: &str, nonce: u8) -> Joining {
    Joining::new(token, &name(vantage), [nonce; NONCE_BYTES]).unwrap()
}

fn invited() -> (Invitations, String) {
    let mut all = Invitations::default();
    let random = std::array::from_fn(|i| u8::try_from(i).unwrap());
    let token = all.invite(name("aws-3"), HOUR, random, NOW).unwrap();
    (all, token)
}

#[test]
fn a_token_lets_one_prober_in_once() {
    let (mut all, token) = invited();
    let new = joining(&token, "aws-3", 1);
    let (who, reply) = all.redeem(&new.request(), RING, NOW).unwrap();
    assert_eq!((who.as_str(), new.open(&reply).unwrap().as_str()), ("aws-3", RING));
    let clear = |bytes: &[u8]| bytes.windows(16).any(|w| RING.as_bytes().windows(16).any(|r| r == w));
    assert!(!clear(&reply.sealed), "the keyring is not in the clear");
    // The answer was lost: the same request is answered again; another one is not.
    assert_eq!(all.redeem(&new.request(), "another ring by now", NOW).unwrap().1, reply);
    let thief = joining(&token, "aws-3", 2);
    assert_eq!(all.redeem(&thief.request(), RING, NOW).unwrap_err(), JoinRefusal::Used);
}

#[test]
fn a_token_is_for_one_vantage_and_for_a_time() {
    let (mut all, token) = invited();
    let other = joining(&token, "gcp-1", 1).request();
    assert_eq!(all.redeem(&other, RING, NOW).unwrap_err(), JoinRefusal::Proof { vantage: "gcp-1".to_owned() });
    let renamed = JoinRequest { vantage: "aws-3".to_owned(), ..other };
    assert!(matches!(all.redeem(&renamed, RING, NOW), Err(JoinRefusal::Proof { .. })), "the proof holds the name");
    let good = joining(&token, "aws-3", 1).request();
    assert_eq!(all.redeem(&good, RING, NOW + HOUR).unwrap_err(), JoinRefusal::Unknown);
    assert!(all.redeem(&good, RING, Mono(NOW.0 + HOUR.0 * 1_000_000 - 1)).is_ok());
    assert_eq!(Invitations::default().redeem(&good, RING, NOW).unwrap_err(), JoinRefusal::Unknown);
}

#[test]
fn whatever_is_changed_on_the_way_is_refused_and_uses_nothing_up() {
    let (mut all, token) = invited();
    let new = joining(&token, "aws-3", 1);
    let good = new.request();
    for field in 0..4_usize {
        for at in 0..8 {
            let mut bad = good.clone();
            match field {
                0 => bad.token[at] ^= 1,
                1 => bad.nonce[at] ^= 1,
                2 => bad.proof[at] ^= 1,
                _ => bad.proof.truncate(at),
            }
            assert!(all.redeem(&bad, RING, NOW).is_err(), "field {field}, byte {at}");
        }
    }
    let (_, reply) = all.redeem(&good, RING, NOW).expect("nothing was used up");
    for at in 0..reply.sealed.len() {
        let mut bad = reply.clone();
        bad.sealed[at] ^= 1;
        assert!(matches!(new.open(&bad), Err(JoinError::Forged)), "byte {at}");
    }
    assert!(matches!(new.open(&JoinReply::default()), Err(JoinError::Forged)));
    let (_, empty) = invited().0.redeem(&good, "", NOW).unwrap();
    assert!(matches!(new.open(&empty), Err(JoinError::Keyring(_))), "what holds no key is no keyring");
}

#[test]
fn what_is_no_token_and_what_is_too_much_is_said() {
    let cut = &invited().1[..20];
    for bad in ["", "tgj_", "tg_00", cut, &format!("{}0", invited().1), "tgj_zz"] {
        let error = Joining::new(bad, &name("aws-3"), [0; NONCE_BYTES]).unwrap_err();
        assert!(matches!(error, JoinError::Form) && error.to_string().contains("80 hexadecimal"), "{bad}: {error}");
    }
    let mut all = Invitations::default();
    let random = |n: u16| {
        let mut bytes = [9; TOKEN_BYTES];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        bytes
    };
    for lasts in [Millis(0), Millis(LASTS_MAX.0 + 1)] {
        assert_eq!(all.invite(name("a"), lasts, random(0), NOW).unwrap_err(), InviteError::Lasts);
    }
    for n in 0..256 {
        all.invite(name("a"), HOUR, random(n), NOW).unwrap();
    }
    assert_eq!(all.invite(name("a"), HOUR, random(256), NOW).unwrap_err(), InviteError::TooMany);
    all.invite(name("a"), HOUR, random(256), NOW + HOUR).expect("those that ended make room");
}
