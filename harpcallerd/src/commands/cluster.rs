//! `cluster`: commands about the database that jobs are kept in.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use harp_postgres::schema;
use harpcallerd::cluster;
use harpcallerd::config::{Config, DEFAULT_PATH};
use harpcallerd::world::Runtime;

use super::Done;
use super::printing::say;

/// What is to be done.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make the schema that dispatchers keep their jobs in, or bring it up to this release.
    ///
    /// Made again it changes nothing. A dispatcher without it does not start.
    Init(Init),
}

/// How the schema is made.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    /// The configuration file, whose table cluster names the database.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Print the SQL, and connect to nothing.
    #[arg(long)]
    print: bool,
    /// Give this role what dispatchers need, where it is not the one that makes the schema.
    #[arg(long = "for", value_name = "ROLE")]
    for_role: Option<String>,
}

pub(crate) fn init(init: &Init) -> Done {
    let role = init.for_role.as_deref();
    if init.print {
        say(schema::statements(role).trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let (config, _) = Config::read(&init.config)?;
    let file = init.config.display();
    let settings = config.cluster.as_ref();
    let settings = settings.with_context(|| format!("{file} has no table [cluster]"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let server = cluster::server(settings, Arc::new(Runtime::start()))?;
        schema::make(&server, role).await?;
        anyhow::Ok(())
    })?;
    say("the database has the schema of HarpCaller")?;
    Ok(ExitCode::SUCCESS)
}
