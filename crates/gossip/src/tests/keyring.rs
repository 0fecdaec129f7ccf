//! Keys: a rotation while traffic goes on, and a file that changes.

use super::world::{KEY, OTHER_KEY, World};
use crate::{DropReason, Event, KeyFile, Keyring, KeyringError};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn take(world: &mut World, i: usize, keys: &[&str]) {
    let keyring = Keyring::parse(&keys.join("\n")).unwrap();
    world.event(i, Event::Keyring(keyring));
}
fn received(world: &World) -> Vec<u64> {
    world.live().map(|(_, node)| node.counters().received).collect()
}
fn dropped(world: &World) -> u64 {
    let of = |node: &crate::Node| DropReason::ALL.iter().map(|reason| node.counters().dropped(*reason)).sum::<u64>();
    world.live().map(|(_, node)| of(node)).sum()
}

#[test]
fn a_rotation_loses_no_datagram() {
    for (n, loss) in [(2, 0), (5, 5)] {
        let mut world = World::new(n, loss, 61);
        world.run_until_whole(10_000);
        world.outputs.clear();
        let steps: [&[&str]; 3] = [&[KEY, OTHER_KEY], &[OTHER_KEY, KEY], &[OTHER_KEY]];
        for keys in steps {
            // One after the other: in between, some are one step ahead.
            for i in 0..n {
                take(&mut world, i, keys);
                let before = received(&world);
                world.run(4_000);
                let more = received(&world).iter().zip(&before).all(|(after, before)| after > before);
                assert!(more, "traffic goes on");
            }
        }
        assert_eq!(dropped(&world), 0);
        assert_eq!(world.downs(), Vec::new());
        assert!(world.live().all(|(_, node)| node.counters().keyrings_taken == 3));
    }
}

#[test]
fn a_step_that_is_left_out_breaks_the_path() {
    let mut world = World::new(2, 0, 67);
    world.run_until_whole(10_000);
    take(&mut world, 0, &[OTHER_KEY]);
    world.run(3_000);
    let unknown = |world: &World, i: usize| world.nodes[i].as_ref().unwrap().counters().dropped(DropReason::UnknownKey);
    assert!(unknown(&world, 0) > 0 && unknown(&world, 1) > 0);
    // And is mended by a ring that holds both.
    (0..2).for_each(|i| take(&mut world, i, &[OTHER_KEY, KEY]));
    world.run_until_whole(15_000);
}

fn put(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn every_state_of_the_file_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gossip.key");
    put(&path, KEY, 0o640);
    assert!(matches!(KeyFile::open(&path), Err(KeyringError::Mode { mode: 0o640, .. })));
    put(&path, KEY, 0o600);
    let (mut file, _) = KeyFile::open(&path).unwrap();
    assert_eq!(file.path(), path);
    assert!(file.look().is_none());
    put(&path, &format!("{OTHER_KEY}\n{KEY}"), 0o600);
    assert!(matches!(file.look(), Some(Ok(_))));
    assert!(file.look().is_none());
    // Half a line, as an editor may leave it for a moment.
    put(&path, &format!("{OTHER_KEY}\n{}", &KEY[..20]), 0o600);
    assert!(matches!(file.look(), Some(Err(KeyringError::Line { line: 2 }))));
    assert!(file.look().is_none());
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(file.look(), Some(Err(KeyringError::Io { .. }))));
    assert!(file.look().is_none());
    put(&path, KEY, 0o604);
    assert!(matches!(file.look(), Some(Err(KeyringError::Mode { .. }))));
    put(&path, KEY, 0o600);
    assert!(matches!(file.look(), Some(Ok(_))), "a mended mode alone is a new state");
}
