//! What is declared of procedures by the tables `[[procedure]]` of the configuration: their
//! arguments are held against schemas before a call is accepted.

use std::path::{Path, PathBuf};

use harp_files::regular;
use harp_jobs::access::Patterns;
use harp_proto::Json;
use harp_schema::{Dialect, Schema};
use harp_service::Table;

use crate::procedures::Described;

/// One `[[procedure]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcedureSettings {
    host: Patterns,
    procedure: Patterns,
    description: Option<String>,
    /// The files of the schemas.
    arguments_schema: Option<PathBuf>,
    result_schema: Option<PathBuf>,
}

impl ProcedureSettings {
    /// Takes the tables out of the configuration.
    pub fn take(table: &Table<'_>) -> Vec<ProcedureSettings> {
        let tables = table.array_of_tables("procedure");
        let patterns = |table: &Table<'_>, key| {
            let texts = table.one_or_more_strings(key);
            if texts.as_ref().is_some_and(Vec::is_empty) {
                table.problem(key, "must have at least one pattern");
            }
            texts.map(|texts| Patterns::new(&texts))
        };
        let procedures = tables.iter().filter_map(|table| {
            let host = patterns(table, "host").unwrap_or_else(Patterns::everything);
            let procedure = patterns(table, "procedure");
            let procedure = table.required("procedure", procedure);
            let description = table.string("description");
            let arguments_schema = table.path("arguments_schema");
            let result_schema = table.path("result_schema");
            Some(ProcedureSettings {
                host,
                procedure: procedure?,
                description,
                arguments_schema,
                result_schema,
            })
        });
        procedures.collect()
    }
}

/// What is declared of procedures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Declarations {
    procedures: Vec<Declared>,
    describe_hosts: bool,
}

/// What is declared of some procedures.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    host: Patterns,
    procedure: Patterns,
    /// What they do, for people.
    pub description: Option<String>,
    /// What their arguments have to be.
    pub arguments: Option<Schema>,
    /// What their results have to be.
    pub result: Option<Schema>,
}

impl Declared {
    /// What is declared, as it was written.
    #[must_use]
    pub fn described(&self) -> Described {
        let text = |schema: &Option<Schema>| schema.as_ref().map(|schema| schema.text().clone());
        Described {
            description: self.description.clone(),
            arguments_schema: text(&self.arguments),
            result_schema: text(&self.result),
        }
    }
}

/// A schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {why}", file.display())]
pub struct NotDeclared {
    file: PathBuf,
    why: String,
}

impl Declarations {
    /// Reads the schemas. Blocks.
    ///
    /// # Errors
    ///
    /// With the file that cannot be read or used.
    pub fn read(
        settings: &[ProcedureSettings],
        describe_hosts: bool,
    ) -> Result<Declarations, NotDeclared> {
        let declared = settings.iter().map(|settings| {
            let schema = |file: &Option<PathBuf>| file.as_deref().map(read).transpose();
            Ok(Declared {
                host: settings.host.clone(),
                procedure: settings.procedure.clone(),
                description: settings.description.clone(),
                arguments: schema(&settings.arguments_schema)?,
                result: schema(&settings.result_schema)?,
            })
        });
        Ok(Declarations {
            procedures: declared.collect::<Result<_, _>>()?,
            describe_hosts,
        })
    }

    /// Whether all hosts are asked for their procedures after each refresh of the registry.
    #[must_use]
    pub fn describes_hosts(&self) -> bool {
        self.describe_hosts
    }

    /// The procedures of a host that tables name in full.
    pub fn names(&self, host: &str) -> impl Iterator<Item = &str> {
        let tables = self.procedures.iter();
        let of_host = tables.filter(move |declared| declared.host.match_text(host));
        of_host.flat_map(|declared| declared.procedure.in_full())
    }

    /// Whether anything is said of results.
    #[must_use]
    pub fn has_results(&self) -> bool {
        self.procedures
            .iter()
            .any(|declared| declared.result.is_some())
    }

    /// What is declared of a procedure. Of several tables the first that matches counts.
    #[must_use]
    pub fn of(&self, host: &str, procedure: &str) -> Option<&Declared> {
        self.procedures.iter().find(|declared| {
            declared.host.match_text(host) && declared.procedure.match_text(procedure)
        })
    }
}

fn read(file: &Path) -> Result<Schema, NotDeclared> {
    let failed = |why: &dyn std::fmt::Display| NotDeclared {
        file: file.to_owned(),
        why: why.to_string(),
    };
    let text = regular::read(file).map_err(|error| failed(&error))?;
    let text = Json::parse(&text.into()).map_err(|error| failed(&error))?;
    Schema::new(&text, Dialect::AsSaid).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use harp_service::Settings;

    use super::*;

    #[test]
    fn the_first_table_that_matches_counts() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let strict = file("strict.json", r#"{"type": "object", "maxProperties": 0}"#);
        let anything = file("anything.json", "true");
        let text = format!(
            "[[procedure]]\nhost = 'web*'\nprocedure = ['deploy', 'restart']\n\
             arguments_schema = '{strict}'\n\
             [[procedure]]\nprocedure = 'deploy'\narguments_schema = '{anything}'\n"
        );
        let read = |text: &str| {
            let settings = Settings::parse(text, "f").unwrap();
            let procedures = ProcedureSettings::take(&settings.table());
            settings.finish().map_err(|error| error.to_string())?;
            Declarations::read(&procedures, false).map_err(|error| error.to_string())
        };
        let procedures = read(&text).unwrap();
        let wrong = |host, procedure| {
            let arguments = "[1]".parse().unwrap();
            let schema = procedures.of(host, procedure)?.arguments.as_ref()?;
            Some(schema.violations(&arguments).len())
        };
        assert_eq!(wrong("web01", "restart"), Some(1));
        assert_eq!(wrong("db01", "deploy"), Some(0));
        assert_eq!(wrong("db01", "restart"), None);
        let bad = file("bad.json", r#"{"type": "bogus"}"#);
        let text = format!("[[procedure]]\nprocedure = 'p'\narguments_schema = '{bad}'\n");
        assert!(read(&text).unwrap_err().contains("bad.json"));
        let missing = read("[[procedure]]\n").unwrap_err();
        assert!(missing.contains("procedure"), "{missing}");
    }
}
