//! foca 2.0.0's defect, shown on foca itself. When this test fails, foca has been mended: take the work-around
//! in `Node::due` out, and this test with it.

use super::world::addr;
use crate::identity::{Id, Role, WireCodec};
use foca::{AccumulatingRuntime, Config, Foca, Member, Message, State, Timer};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::sync::Arc;

#[test]
fn foca_still_tells_a_refuted_suspect_that_it_is_down() {
    let id = |i: usize| Id { name: Arc::from("v"), addr: addr(i), generation: 1, role: Role::Prober, salt: 0 };
    let mut config = Config::simple();
    config.notify_down_members = true;
    let mut foca = Foca::new(id(0), config, StdRng::seed_from_u64(1), WireCodec);
    let mut runtime = AccumulatingRuntime::new();
    // The driver catches the timer token that foca gave for the suspicion: here the first, 0.
    let timer = Timer::ChangeSuspectToDown { member_id: id(1), incarnation: 0, token: 0 };
    let suspect = Member::new(id(1), 0, State::Suspect);
    let refuted = Member::new(id(1), 1, State::Alive);
    foca.apply_many([suspect, refuted].into_iter(), true, &mut runtime).unwrap();
    while runtime.to_send().is_some() {}
    foca.handle_timer(timer, &mut runtime).unwrap();
    assert_eq!(foca.num_members(), 1, "the refutation stands");
    let (to, data) = runtime.to_send().expect("mended upstream: no TurnUndead for a refuted suspicion any more");
    assert_eq!(to, id(1));
    let header = foca::Codec::<Id>::decode_header(&mut WireCodec, &data[..]).unwrap();
    assert_eq!(header.message, Message::TurnUndead);
}
