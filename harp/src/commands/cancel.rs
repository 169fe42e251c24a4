//! `harp cancel`

use harp_client::Cancellation;

use crate::command_line::Cancel;
use crate::dispatcher::Dispatcher;
use crate::event::{Event, Subject};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::screen::Screen;
use crate::settings::Settings;

pub(super) async fn run(
    cancel: Cancel,
    settings: &Settings,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let dispatcher = Dispatcher::new(&cancel.which.dispatcher, settings, screen)?;
    let job = dispatcher.rpc.job(cancel.which.job);
    let answer = if cancel.confirm {
        job.cancel_confirmed().await.map(|answer| match answer {
            Cancellation::Confirmed => (true, Some(true)),
            Cancellation::Unconfirmed => (true, Some(false)),
            Cancellation::NotRunning => (false, None),
        })
    } else {
        job.cancel().await.map(|cancelled| (cancelled, None))
    };
    let (cancelled, confirmed) = answer.map_err(|error| dispatcher.problem(&error))?;
    let subject = &Subject::job(cancel.which.job);
    if screen.is_json() {
        screen.event(&Event::Cancel {
            subject,
            cancelled,
            confirmed,
        })?;
    }
    match (cancelled, confirmed) {
        (true, Some(true)) => {
            screen.note(
                subject,
                "cancelled; nothing of the call is left on the host",
            );
            Ok(Exit::Returned)
        }
        (true, None) => {
            screen.note(subject, "cancelled");
            Ok(Exit::Returned)
        }
        (true, Some(false)) => {
            screen.warn(
                "cancelled, but the host has not confirmed that nothing of the call is left; \
                 look there",
            );
            Ok(Exit::NotFinished)
        }
        (false, _) => {
            screen.warn("nothing to cancel: the job has ended, or there is no such job");
            Ok(Exit::NothingToCancel)
        }
    }
}
