//! `harp result`

use crate::command_line::ResultOf;
use crate::dispatcher::Dispatcher;
use crate::event::Subject;
use crate::exit::Exit;
use crate::interrupt::supervise;
use crate::problem::Problem;
use crate::screen::Screen;
use crate::settings::Settings;
use crate::watch::{Source, Watched};

pub(super) async fn run(
    result: ResultOf,
    settings: &Settings,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let dispatcher = Dispatcher::new(&result.which.dispatcher, settings, screen)?;
    let job = dispatcher.rpc.job(result.which.job);
    let subject = Subject::job(result.which.job);
    if !result.wait {
        return match job.result().await {
            Ok(Some(outcome)) => {
                screen.ended(&subject, &outcome, false, None)?;
                Ok((&outcome).into())
            }
            Ok(None) => {
                screen.not_finished(&subject, None)?;
                Ok(Exit::NotFinished)
            }
            Err(error) => Err(dispatcher.problem(&error)),
        };
    }
    let watched = Watched {
        subject,
        source: Source::outcome_of(job),
        origin: dispatcher.origin,
    };
    supervise(
        screen,
        result.interrupt.on_interrupt,
        || format!("Job {} has not ended.", result.which.job),
        async |mut orders| watched.watch(screen, &mut orders).await,
    )
    .await
}
