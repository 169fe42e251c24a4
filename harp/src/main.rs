//! The `harp` command: calls procedures through a dispatcher and looks after their jobs.
//!
//! `commands/*.rs` are the commands, one file each. Those that wait go through
//! `watch.rs` (one call until its end), `fan_out.rs` (several hosts) and `interrupt.rs`
//! (Ctrl-C); `serve` runs a `program.rs` for each job. All of them speak through `screen.rs` and end with an `exit.rs`.

mod arguments;
mod command_line;
mod commands;
mod descriptors;
mod details;
mod dispatcher;
mod duration;
mod event;
mod exit;
mod fan_out;
mod hosts;
mod interrupt;
mod problem;
mod program;
mod screen;
mod secret;
mod settings;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use command_line::CommandLine;
use event::Subject;
use exit::Exit;
use problem::Problem;
use screen::Screen;

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let speaker = Screen::new(&line.shared);
    let screen = Screen::new(&line.shared);
    // If not, fewer calls are made at the same time.
    let _ = harp_service::descriptors::raise_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(commands::run(line, screen));
            // A name that is still being looked up is nobody's any more.
            runtime.shutdown_background();
            done
        }
        Err(error) => Err(Problem::new(
            Exit::OwnFault,
            format!("cannot start the runtime: {error}"),
        )),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(problem) => {
            // The reader of the output has seen enough.
            if !problem.is_broken_pipe() {
                speaker.failed(&Subject::default(), &problem);
            }
            problem.exit.into()
        }
    }
}
