//! `harp call`

use std::cell::Cell;
use std::time::Duration;

use harp_client::{CallLimits, RemoteServer};

use super::Target;
use crate::command_line::Call;
use crate::dispatcher::Dispatcher;
use crate::event::Subject;
use crate::exit::Exit;
use crate::fan_out;
use crate::problem::Problem;
use crate::screen::Screen;
use crate::settings::Settings;
use crate::watch::{Source, Watched};

pub(super) async fn run(
    mut call: Call,
    settings: &Settings,
    screen: Screen,
) -> Result<Exit, Problem> {
    let target = Target::new(
        "call",
        std::mem::take(&mut call.first),
        call.second.take(),
        std::mem::take(&mut call.arguments),
        &call.words,
        &call.hosts,
    )?;
    let dispatcher = Dispatcher::new(&call.dispatcher, settings, &screen)?;
    let several = !call.hosts.hosts.is_empty();
    let screen = if several {
        screen.for_hosts(&target.hosts, call.detach)
    } else {
        screen
    };
    let parallel = call.hosts.parallel.or(settings.parallel);
    let screen = &screen;
    // One for all hosts, whose dispatcher is one.
    let limits_are_told = Cell::new(false);
    let start = async |name: &str| {
        let server = with_options(dispatcher.rpc.host(name), &call, several);
        let job = server
            .call(&target.procedure, &target.arguments)
            .await
            .map_err(|error| dispatcher.problem(&error))?;
        let subject = Subject {
            host: Some(name.to_owned()),
            job: Some(job.id()),
        };
        if let Some(limits) = job.limits()
            && let Some(lowered) = lowered(&call, limits)
            && !limits_are_told.replace(true)
        {
            screen.warn(lowered);
        }
        let told = screen.submitted(&subject, &job, call.detach);
        if told.is_err() {
            screen.goes_on(name, job.id());
        }
        told?;
        let source = if call.detach {
            Source::Nowhere
        } else if call.wait {
            Source::outcome_of(job)
        } else {
            let packets = job.follow().since(0);
            Source::Job(job, Box::new(packets))
        };
        Ok(Watched {
            subject,
            source,
            origin: dispatcher.origin.clone(),
        })
    };
    fan_out::call(
        screen,
        &target.hosts,
        parallel.unwrap_or(fan_out::PARALLEL),
        call.interrupt.on_interrupt,
        start,
    )
    .await
}

/// What to say of a limit that is less than was asked for, or that comes to nothing since the
/// dispatcher ends the call before.
fn lowered(call: &Call, holds: CallLimits) -> Option<String> {
    let seconds = |limit: Duration| format!("{} s", limit.as_secs_f64());
    let longest = seconds(holds.max_exec_time);
    if let Some(asked) = call.max_exec_time
        && asked > holds.max_exec_time
    {
        return Some(format!(
            "max_exec_time lowered from {} to {longest} by the dispatcher (its max_exec_time)",
            seconds(asked)
        ));
    }
    let asked = call.timeout.filter(|asked| {
        // Two options of one command line may well be as they are.
        call.max_exec_time.is_none() && *asked > holds.max_exec_time
    })?;
    Some(format!(
        "a timeout of {} is longer than any call may take: the dispatcher ends it after {longest} \
         (its max_exec_time)",
        seconds(asked)
    ))
}

fn with_options(mut server: RemoteServer, call: &Call, several: bool) -> RemoteServer {
    if let Some(name) = &call.queue {
        server = server.queue(name);
    }
    if let Some(jobs) = call.concurrency {
        server = server.concurrency(jobs);
    }
    if let Some(limit) = call.timeout {
        server = server.timeout(limit);
    }
    if let Some(limit) = call.max_exec_time {
        server = server.max_exec_time(limit);
    }
    if call.timeout.is_some() || call.max_exec_time.is_some() {
        server = server.tell_limits();
    }
    if let Some(limit) = call.start_by {
        server = server.start_by(limit);
    }
    if let Some(info) = &call.info {
        server = server.info(info);
    }
    match &call.key {
        // A key stands for one call of one host.
        Some(key) if several => {
            let key = format!("{key} {}", server.host());
            server = server.key(key);
        }
        Some(key) => server = server.key(key),
        None => {}
    }
    if let Some(age) = call.unless_since {
        server = server.unless_since(age);
    }
    server
}
