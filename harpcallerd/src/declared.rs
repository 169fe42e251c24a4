//! What is declared of procedures by the tables `[[procedure]]` of the configuration: their
//! arguments are held against schemas before a call is accepted.

use std::path::{Path, PathBuf};

use harp_files::regular;
use harp_jobs::access::Patterns;
use harp_proto::Json;
use harp_schema::{Dialect, Schema, Violation};
use harp_service::Table;

/// One `[[procedure]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcedureSettings {
    host: Patterns,
    procedure: Patterns,
    /// The file of the schema.
    arguments_schema: PathBuf,
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
            let schema = table.path("arguments_schema");
            let schema = table.required("arguments_schema", schema);
            Some(ProcedureSettings {
                host,
                procedure: procedure?,
                arguments_schema: schema?,
            })
        });
        procedures.collect()
    }
}

/// What is declared of procedures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Declarations(Vec<Declared>);

#[derive(Debug, Clone, PartialEq)]
struct Declared {
    host: Patterns,
    procedure: Patterns,
    arguments: Schema,
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
    pub fn read(settings: &[ProcedureSettings]) -> Result<Declarations, NotDeclared> {
        let declared = settings.iter().map(|settings| {
            Ok(Declared {
                host: settings.host.clone(),
                procedure: settings.procedure.clone(),
                arguments: read(&settings.arguments_schema)?,
            })
        });
        Ok(Declarations(declared.collect::<Result<_, _>>()?))
    }

    /// What is wrong with the arguments of a call; `None` if nothing is declared. Of several
    /// tables the first that matches counts.
    #[must_use]
    pub fn violations(
        &self,
        host: &str,
        procedure: &str,
        arguments: &Json,
    ) -> Option<Vec<Violation>> {
        let declared = self.0.iter().find(|declared| {
            declared.host.match_text(host) && declared.procedure.match_text(procedure)
        })?;
        Some(declared.arguments.violations(arguments))
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
            Declarations::read(&procedures).map_err(|error| error.to_string())
        };
        let procedures = read(&text).unwrap();
        let wrong = |host, procedure| {
            let arguments = "[1]".parse().unwrap();
            let violations = procedures.violations(host, procedure, &arguments);
            violations.map(|violations| violations.len())
        };
        assert_eq!(wrong("web01", "restart"), Some(1));
        assert_eq!(wrong("db01", "deploy"), Some(0));
        assert_eq!(wrong("db01", "restart"), None);
        let bad = file("bad.json", r#"{"type": "bogus"}"#);
        let text = format!("[[procedure]]\nprocedure = 'p'\narguments_schema = '{bad}'\n");
        assert!(read(&text).unwrap_err().contains("bad.json"));
        let missing = read("[[procedure]]\n").unwrap_err();
        assert!(missing.contains("procedure") && missing.contains("arguments_schema"));
    }
}
