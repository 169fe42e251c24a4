//! `harp serve`

use std::pin::pin;
use std::time::Duration;

use harp_client::worker::{Job, Worker};
use harp_client::{Error, Failure, Outcome};
use harp_service::streams::note;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::command_line::serve::Serve;
use crate::dispatcher;
use crate::event::{Event, Subject};
use crate::exit::Exit;
use crate::interrupt::Signals;
use crate::problem::Problem;
use crate::program::{Program, Running};
use crate::screen::Screen;
use crate::settings::{Settings, variable};

/// The dispatcher's HTTP listener unless another is named.
const DEFAULT: &str = "http://127.0.0.1:3580";

/// How long one question for a job is held: a command that is to end waits for its answer, so
/// that no job is fetched that nobody runs.
const QUESTION: Duration = Duration::from_secs(2);

/// How long a command that is to end waits for an answer that does not come.
const PATIENCE: Duration = Duration::from_secs(5);

/// The wait before the second attempt at a dispatcher that is away.
const SECOND: Duration = Duration::from_millis(100);

/// What is left to do after an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Order {
    GoOn,
    /// The job at hand is the last.
    Finish,
    /// The job at hand is to be ended.
    End,
}

/// What became of a job.
enum Became {
    Answered,
    /// It had ended otherwise.
    Lost,
    /// It was ended by the operator.
    Ended,
}

pub(super) async fn run(
    serve: Serve,
    settings: &Settings,
    screen: &Screen,
) -> Result<Exit, Problem> {
    let program = Program::find(&serve.command, serve.output, &serve.service)?;
    let listener = Listener::of(&serve, settings);
    let worker = worker(&serve, &listener, settings, screen)?;
    let mut signals = Signals::catch()?;
    let (orders, heard) = watch::channel(Order::GoOn);
    let mut work = pin!(async {
        let subject = Subject::default();
        screen.note(
            &subject,
            &format!("serves {} of {}", serve.service, listener.url),
        );
        let mut left = serve.jobs;
        while left != Some(0) && *heard.borrow() == Order::GoOn {
            let Some(mut job) = next(&worker, heard.clone(), &listener).await? else {
                continue;
            };
            let became = work_on(&mut job, &program, &serve.service, heard.clone(), screen);
            if let Became::Ended = became.await.map_err(|error| listener.explain(error))? {
                return Ok(Exit::Interrupted);
            }
            left = left.map(|jobs| jobs - 1);
        }
        Ok(Exit::Returned)
    });
    loop {
        tokio::select! {
            ended = &mut work => return ended,
            _ = signals.next() => {}
        }
        let subject = Subject::default();
        let order = *orders.borrow();
        match order {
            Order::GoOn => {
                screen.note(&subject, "ends when its job has; once more ends the job");
                orders.send_replace(Order::Finish);
            }
            Order::Finish => {
                screen.note(&subject, "the job is ended");
                orders.send_replace(Order::End);
            }
            Order::End => {
                return Err(Problem::new(
                    Exit::Interrupted,
                    "given up; the job ends with an error when its lease is over",
                ));
            }
        }
    }
}

/// The next job, if one comes soon.
async fn next(
    worker: &Worker,
    mut orders: watch::Receiver<Order>,
    listener: &Listener,
) -> Result<Option<Job>, Problem> {
    let mut question = pin!(worker.next_within(QUESTION));
    let asked = tokio::select! {
        asked = &mut question => asked,
        () = reaches(&mut orders, Order::Finish) => tokio::select! {
            asked = timeout(QUESTION + PATIENCE, &mut question) => asked.unwrap_or(Ok(None)),
            () = reaches(&mut orders, Order::End) => Ok(None),
        },
    };
    asked.map_err(|error| listener.explain(error.into()))
}

/// Waits for this order, or one that goes further. Cancel safe.
async fn reaches(orders: &mut watch::Receiver<Order>, at: Order) {
    // The sender goes with the command.
    let _ = orders.wait_for(|order| *order >= at).await;
}

/// Runs the command for a job and says what becomes of it.
async fn work_on(
    job: &mut Job,
    program: &Program,
    service: &str,
    mut orders: watch::Receiver<Order>,
    screen: &Screen,
) -> Result<Became, Trouble> {
    let subject = &Subject::job(job.id());
    let id = job.id();
    if screen.is_json() {
        screen.event(&Event::Claimed { subject, service })?;
    }
    screen.note(subject, &format!("job {id} {}", job.arguments()));
    let running = match program.start(job) {
        Ok(running) => running,
        Err(error) => {
            let told = format!("the command cannot be started: {error}");
            job.fail(Failure::new("system_error", told.clone())).await?;
            return Err(Problem::new(Exit::OwnFault, told).into());
        }
    };
    let (group, lost) = (running.group(), job.lost());
    let answered = {
        let mut answering = pin!(answer(job, running));
        tokio::select! {
            biased;
            answered = &mut answering => Some(answered),
            _ = lost => {
                // Which takes up the end of the command, and comes to nothing.
                tokio::select! {
                    _ = &mut answering => {}
                    () = group.end() => {}
                }
                None
            }
            () = reaches(&mut orders, Order::End) => {
                group.end().await;
                None
            }
        }
    };
    let outcome = match answered {
        Some(Ok(outcome)) => Some(outcome),
        Some(Err(error)) if is_lost(&error) => None,
        Some(Err(error)) => return Err(error.into()),
        None if *orders.borrow() == Order::End => return ended(job, screen).await,
        None => None,
    };
    let Some(outcome) = outcome else {
        if screen.is_json() {
            screen.event(&Event::Lost { subject, service })?;
        }
        screen.warn(format_args!(
            "job {id} had ended otherwise: it was cancelled, or a limit or its lease was over"
        ));
        return Ok(Became::Lost);
    };
    if screen.is_json() {
        screen.event(&Event::Ended {
            subject,
            outcome: &outcome,
        })?;
    } else {
        match &outcome {
            Outcome::Exception(failure) => {
                screen.note(subject, &format!("job {id} exception: {failure}"));
            }
            _ => screen.note(subject, &format!("job {id} returned")),
        }
    }
    Ok(Became::Answered)
}

/// Has the command answer the job, and says what that has come to.
async fn answer(job: &mut Job, running: Running) -> Result<Outcome, Error> {
    let said = match running.answer(job).await {
        Ok(Ok(result)) => match job.finish(&result).await {
            Ok(()) => return Ok(Outcome::Returned(result)),
            Err(error) => Err(error),
        },
        Ok(Err(failure)) => Ok(failure),
        Err(error) => Err(error),
    };
    let failure = said.or_else(|error| match error.failure() {
        // What the command has said cannot be taken: that is what became of the job.
        Some(failure) if error.is_refusal() && !is_lost(&error) => Ok(failure.clone()),
        _ => Err(error),
    })?;
    job.fail(failure.clone()).await?;
    Ok(Outcome::Exception(failure))
}

/// Ends a job that its operator has ended.
async fn ended(job: &mut Job, screen: &Screen) -> Result<Became, Trouble> {
    let failure = Failure::new("interrupted", "the worker was stopped while it had the job");
    match timeout(PATIENCE, job.fail(failure)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) if is_lost(&error) => {}
        Ok(Err(error)) => return Err(error.into()),
        Err(_) => screen
            .warn("the dispatcher was not told; the job ends with an error when its lease is over"),
    }
    Ok(Became::Ended)
}

fn is_lost(error: &Error) -> bool {
    matches!(error.wire_type(), Some("ended" | "unknown_claim"))
}

/// Where the dispatcher's HTTP listener is, and who says so.
struct Listener {
    url: String,
    /// As in "the URL came ...".
    origin: String,
}

/// Why the work cannot go on.
enum Trouble {
    Dispatcher(Error),
    Own(Problem),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Dispatcher(error)
    }
}

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Trouble {
        Trouble::Own(problem)
    }
}

impl Listener {
    fn of(serve: &Serve, settings: &Settings) -> Listener {
        let listener = |url: &str, origin: String| Listener {
            url: url.to_owned(),
            origin,
        };
        if let Some(url) = &serve.url {
            return listener(url, "from --url".to_owned());
        }
        if let Some(url) = variable("HARPCALLER_URL") {
            return listener(&url, "from HARPCALLER_URL".to_owned());
        }
        if let (Some(url), Some(file)) = (&settings.url, &settings.file) {
            return listener(url, format!("from {}", file.display()));
        }
        let origin = "by default, as neither --url nor HARPCALLER_URL nor a configuration \
                      names one";
        listener(DEFAULT, origin.to_owned())
    }

    fn explain(&self, trouble: Trouble) -> Problem {
        let error = match trouble {
            Trouble::Dispatcher(error) => error,
            Trouble::Own(problem) => return problem,
        };
        let origin = &self.origin;
        let advice = match (error.phase(), error.wire_type()) {
            (Some("connect" | "request"), _) => format!(
                "The URL came {origin}; --url or HARPCALLER_URL name another. If it is right, \
                 look at [[listen_http]] in harpcaller.toml, and at firewalls."
            ),
            (_, Some("unknown_service")) => {
                "`harp list` shows the services; POST /services registers one, see \
                 harpcaller-http(7)."
                    .to_owned()
            }
            (_, Some("forbidden")) => {
                "A worker needs the operation `work` for its service ([[allow]] in \
                 harpcaller.toml)."
                    .to_owned()
            }
            (_, Some("not_found")) => format!(
                "The URL came {origin}. Does that listener serve the API (`serve` of its \
                 [[listen_http]])?"
            ),
            _ => return Problem::of_dispatcher(&error, origin),
        };
        Problem::from(&error).with_advice(advice)
    }
}

fn worker(
    serve: &Serve,
    listener: &Listener,
    settings: &Settings,
    screen: &Screen,
) -> Result<Worker, Problem> {
    let name = match &serve.name {
        Some(name) => name.clone(),
        None => rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    };
    let mut builder = Worker::builder(&listener.url, &serve.service)
        .name(name)
        .lease(serve.lease)
        .on_lost(told(screen.is_quiet()));
    if let Some(limit) = settings.connect_timeout {
        builder = builder.connect_timeout(limit);
    }
    if let Some(limit) = settings.request_timeout {
        builder = builder.request_timeout(limit);
    }
    let is_said = serve.security.ca_file.is_some()
        || serve.security.fingerprint.is_some()
        || serve.security.insecure;
    // What the configuration says of TLS is of another listener if this one has none.
    if (is_said || listener.url.starts_with("https:"))
        && let Some(tls) = dispatcher::tls(&serve.security, settings)?
    {
        builder = builder.tls(tls);
    }
    if let Some(token) = dispatcher::token(&serve.security, settings, screen)? {
        builder = builder.token(token);
    }
    builder.build().map_err(|error| {
        let advice = format!(
            "The dispatcher's URL {} came {}. With https:// --ca-file FILE, --fingerprint SHA256 \
             or --insecure say which certificate it has.",
            listener.url, listener.origin
        );
        Problem::from(&error).with_advice(advice)
    })
}

/// Says that the dispatcher is away, once each time.
fn told(is_quiet: bool) -> impl Fn(&Error, Duration) + Send + Sync + 'static {
    move |error, wait| {
        // The first attempt comes at once and mostly succeeds, and the further ones come later
        // and later.
        if !wait.is_zero() && wait <= SECOND && !is_quiet {
            note(format_args!(
                "harp: {error}; it is looked for until it is back"
            ));
        }
    }
}
