//! `tidegate-stage`: the demo, its parts, and what recomputes its numbers.

fn main() -> std::process::ExitCode {
    tidegate_stage::main()
}
