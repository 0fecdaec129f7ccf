//! Doors for fuzzers, and for the tests that run over the fuzzers' corpus. Behind the feature `fuzzing`: no program has it.
//!
//! Each takes any bytes, says whether they were taken, and fails by a panic alone.

use crate::probe::{Ask, status};
use crate::targets::{checked, from_json, from_kept, to_keep};
use prost::Message;
use std::path::Path;
use tidegate_domain::{Check, CheckKind};
use tidegate_prober::Ended;
use tidegate_proto::v1;

/// A list by the first byte: 0 from the wire, 1 the kept form, 2 JSON. What is taken is within its bounds, can be asked, and
/// what came by the wire is kept and recalled the same.
pub fn target_list(data: &[u8]) -> bool {
    let Some((form, data)) = data.split_first() else { return false };
    let path = Path::new("targets.bin");
    let list = match form {
        0 => v1::TargetList::decode(data).ok().and_then(|wire| checked(&wire).ok()),
        1 => from_kept(path, data).ok(),
        2 => from_json(data).ok(),
        _ => None,
    };
    let Some(list) = list else { return false };
    if *form == 0 {
        assert_eq!(from_kept(path, &to_keep(data)).ok().as_ref(), Some(&list), "kept and recalled");
    }
    assert!(list.targets.len() <= Check::TARGETS_MAX);
    for target in &list.targets {
        assert!(target.port != 0 && !target.host.is_empty());
        assert!((Check::INTERVAL_MIN..=Check::INTERVAL_MAX).contains(&target.check.interval));
        assert!((Check::TIMEOUT_MIN..=Check::TIMEOUT_MAX).contains(&target.check.timeout));
        assert!(target.check.unhealthy_after > 0 && target.check.healthy_after > 0);
        // Nothing of a list may end the request line or a header, and begin another.
        if let (CheckKind::Http { .. }, Some(Ask::Http { request, .. })) =
            (&target.check.kind, Ask::new(&target.check.kind, &target.host, target.port))
        {
            let lines = request.windows(2).filter(|pair| *pair == b"\r\n").count();
            assert_eq!((lines, request.iter().filter(|b| **b == b'\n').count()), (6, 6), "{target:?}");
        }
    }
    list.references.iter().for_each(|reference| assert!(!reference.host.is_empty(), "{reference:?}"));
    true
}

/// A backend's answer. However its bytes are cut, it is judged the same. Taken is a status.
pub fn probe_status(data: &[u8]) -> bool {
    let judge = |size: usize| {
        let mut head = Vec::new();
        data.chunks(size).find_map(|chunk| {
            head.extend_from_slice(chunk);
            status(&mut head)
        })
    };
    let whole = judge(data.len().max(1));
    for size in [1, 3] {
        assert_eq!(judge(size), whole, "pieces of {size}");
    }
    matches!(whole, Some(Ended::Ok | Ended::Status))
}
