//! What stands around one prober's machine in virtual time: the list that a server would hand out, and the endings of its
//! probes. The machine is the one that ships.

use anyhow::Result;
use std::sync::Arc;
use tidegate_domain::{Fleet, Mono, VantageIx};
use tidegate_prober::{Assignment, Event, List, Prober, Tuning, handout};

/// A prober with its list, as a server hands it out.
pub(crate) fn begun(fleet: &Fleet, vantage: VantageIx, now: Mono) -> Result<Prober> {
    let (regions, apis) = tidegate_kernel::health::duties(fleet, vantage);
    let mine = Assignment { regions, apis };
    let list = List::try_from(&handout(fleet, &mine, &[]))?;
    let mut prober = Prober::new(Tuning::default());
    // What it wants at once it says again at its first tick.
    let _ = prober.handle(Event::List(Arc::new(list)), now);
    Ok(prober)
}
