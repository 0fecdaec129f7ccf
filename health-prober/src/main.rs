//! The program: everything is in the library half.

fn main() -> std::process::ExitCode {
    health_prober::cli::main()
}
