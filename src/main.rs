//! The program: one binary whose roles are one `match` (see `boot/cli.rs`).

use std::process::ExitCode;

fn main() -> ExitCode {
    spark::boot::run().unwrap_or_else(|error| {
        eprintln!("spark: {error:#}");
        ExitCode::FAILURE
    })
}
