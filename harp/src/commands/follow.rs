//! `harp follow` and `harp stream`

use harp_client::Packets;

use crate::command_line::{Follow, OnInterrupt, Start, Stream};
use crate::dispatcher::Dispatcher;
use crate::event::Subject;
use crate::exit::Exit;
use crate::interrupt::supervise;
use crate::problem::Problem;
use crate::screen::Screen;
use crate::settings::Settings;
use crate::watch::{Source, Watched};

pub(super) async fn run(
    follow: Follow,
    settings: &Settings,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let dispatcher = Dispatcher::new(&follow.which.dispatcher, settings, screen)?;
    let job = dispatcher.rpc.job(follow.which.job);
    let packets = starting(job.follow(), follow.start);
    let watched = Watched {
        subject: Subject::job(follow.which.job),
        source: Source::Job(job, Box::new(packets)),
        origin: dispatcher.origin,
    };
    supervise(
        screen,
        follow.interrupt.on_interrupt,
        || format!("Job {} has not ended.", follow.which.job),
        async |mut orders| watched.watch(screen, &mut orders).await,
    )
    .await
}

/// The packets so far do not wait for anything, so an interrupt has nothing to ask.
pub(super) async fn run_stream(
    stream: Stream,
    settings: &Settings,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let dispatcher = Dispatcher::new(&stream.which.dispatcher, settings, screen)?;
    let job = dispatcher.rpc.job(stream.which.job);
    let packets = starting(job.stream(), stream.start);
    let watched = Watched {
        subject: Subject::job(stream.which.job),
        source: Source::Job(job, Box::new(packets)),
        origin: dispatcher.origin,
    };
    supervise(
        screen,
        OnInterrupt::Detach,
        String::new,
        async |mut orders| watched.watch(screen, &mut orders).await,
    )
    .await
}

fn starting(packets: Packets, start: Start) -> Packets {
    match (start.since, start.recent) {
        (_, Some(recent)) => packets.recent(recent),
        (since, None) => packets.since(since.unwrap_or(0)),
    }
}
