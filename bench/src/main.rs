//! Measures HarpCaller: every row of PERFORMANCE.md, each against a reference program
//! built from the same crates, in one run.
//!
//! The daemons are the real binaries, in processes of their own; so are the reference
//! servers, which are this program again. The load comes from this process.

mod distribution;
mod http;
mod load;
mod report;
mod rows;
mod serve;
mod site;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

use report::Report;
use rows::Plan;

/// The dispatcher's: the references have what it has.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measures HarpCaller against reference programs, and prints a table.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    serve: Option<Serve>,
    /// Small amounts, once each: shows that everything runs, and nothing about speed.
    #[arg(long)]
    quick: bool,
    /// Only the groups whose names contain this (see --list).
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// How often each group is measured; the one that makes a million jobs is once.
    #[arg(long, value_name = "N", default_value_t = 3)]
    repeat: usize,
    /// Writes all figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Prints the names of the groups.
    #[arg(long)]
    list: bool,
}

#[derive(Subcommand)]
enum Serve {
    /// A reference server, started by the benchmark itself.
    #[command(hide = true)]
    Serve(serve::Server),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    if let Some(Serve::Serve(server)) = arguments.serve {
        return runtime.block_on(serve::run(server));
    }
    if arguments.list {
        for group in rows::GROUPS {
            println!("{}", group.name);
        }
        return Ok(());
    }
    site::raise_file_limit()?;
    let plan = if arguments.quick {
        Plan::QUICK
    } else {
        Plan::FULL
    };
    let repeat = if arguments.quick {
        1
    } else {
        arguments.repeat.max(1)
    };
    let mut report = Report::new(arguments.quick, repeat);
    for group in rows::GROUPS {
        if arguments
            .only
            .as_ref()
            .is_some_and(|only| !group.name.contains(only.as_str()))
        {
            continue;
        }
        let repeat = if group.once { 1 } else { repeat };
        for round in 1..=repeat {
            eprintln!("{} ({round} of {repeat})", group.name);
            let figures = runtime
                .block_on(group.measure(plan))
                .with_context(|| format!("measuring {}", group.name))?;
            report.add(figures);
        }
    }
    print!("{}", report.table());
    if let Some(file) = arguments.json {
        std::fs::write(&file, report.json())
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
