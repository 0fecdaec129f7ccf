//! What may never be, as plain functions: each returns the fault in words.

use super::World;
use super::shell::Shelf;
use tidegate_domain::*;
use tidegate_record::*;

/// What is published is what the store has committed.
pub fn publish(shelf: &Shelf, generation: u64, plan: &Plan) -> Result<(), String> {
    let committed = shelf.committed().ok_or("published, and nothing is committed")?;
    if committed.generation != generation {
        return Err(format!("published generation {generation}, committed is {}", committed.generation));
    }
    if committed.plan != *plan { Err("published another plan than the committed one".to_owned()) } else { Ok(()) }
}

/// A generation only rises; the same may be published again by a restarted server.
pub fn rises(last: Option<u64>, next: u64) -> Result<(), String> {
    match last {
        Some(last) if next < last => Err(format!("generation {next} after {last}")),
        _ => Ok(()),
    }
}

/// I6: no weight and no spill outside the permitted set, nothing for a group under the wrong law.
pub fn permitted(fleet: &Fleet, plan: &Plan) -> Result<(), String> {
    for split in &plan.splits {
        let places = split.weights.iter().map(|w| w.region).chain(split.spill.iter().flatten().copied());
        for region in places {
            if !fleet.permits(split.class, region) || !fleet.permits_group(split.class, split.group) {
                let (class, place) = (fleet.class_name(split.class), &fleet.regions[region.at()].name);
                return Err(format!("I6: {class} at {place} for {}", fleet.groups[split.group.at()].name));
            }
        }
    }
    Ok(())
}

/// The journal is one chain up to the end that stands, and every event of it was told under its number.
pub fn journal(shelf: &Shelf) -> Result<Vec<Entry>, String> {
    let entries = shelf.entries();
    let end = verify_chain_from(Link::default(), &entries).map_err(|e| e.to_string())?;
    if end == shelf.end().0 {
        Ok(entries)
    } else {
        Err(format!("the chain ends at {}, the head says otherwise", end.sequence))
    }
}

/// I12: every decision replays to the same bytes, decisions follow one another, and each names the events since.
pub fn replays(shelf: &Shelf, run: impl Fn(&CycleInput) -> CycleOutput) -> Result<usize, String> {
    let (mut count, mut last) = (0, (0, 0));
    for entry in journal(shelf)? {
        let EntryBody::Decision(decision) = entry.body else { continue };
        let outcome = replay(&decision, |hash| shelf.store.get_blob(hash).unwrap(), tidegate_kernel::VERSION, &run)
            .map_err(|e| e.to_string())?;
        if !outcome.same {
            return Err(format!("I12: decision {} replays to other bytes", decision.id));
        }
        let (first, to) = decision.input_range;
        if first != last.1 + 1 || to + 1 != entry.sequence || decision.parent_generation != last.0 {
            let range = decision.input_range;
            return Err(format!("decision {} at {} names {range:?} after {last:?}", decision.id, entry.sequence));
        }
        last = (decision.generation, entry.sequence);
        count += 1;
    }
    Ok(count)
}

/// All of it, on a world whose writes have been answered.
pub fn whole(world: &World) -> Result<usize, String> {
    let count = replays(&world.shelf, tidegate_kernel::cycle)?;
    if let (Some(last), Some(committed)) = (world.published.last(), world.shelf.committed())
        && last.generation > committed.generation
    {
        return Err(format!("published {} is ahead of the committed {}", last.generation, committed.generation));
    }
    let mut ids: Vec<u64> = Vec::new();
    for entry in world.shelf.entries() {
        if let EntryBody::Event(Event { kind: EventKind::DrainRequested { id, place, .. }, .. }) = entry.body {
            ids.push(id);
            let standing = world.shelf.intents().unwrap_or_default();
            if standing.drains.iter().any(|d| d.id == id && d.place != place) {
                return Err(format!("drain #{id} names two places"));
            }
        }
    }
    if ids.windows(2).any(|w| w[0] > w[1] && !ids[..ids.len() - 1].contains(&w[1])) {
        return Err(format!("ids of drains fall: {ids:?}"));
    }
    Ok(count)
}
