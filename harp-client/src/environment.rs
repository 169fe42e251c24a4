//! A dispatcher that the environment names.

use std::env;

use crate::{Error, HarpCaller, HarpCallerBuilder, Tls};

/// What says where the dispatcher is.
const ADDRESS: &str = "HARPCALLER";

impl HarpCaller {
    /// The dispatcher that the environment names, to be described further.
    ///
    /// | variable | what it has |
    /// | --- | --- |
    /// | `HARPCALLER` | the address, in one of the forms of [`HarpCaller::new`] |
    /// | `HARPCALLER_CA_FILE` | TLS, with a certificate that a CA in this PEM file has signed |
    /// | `HARPCALLER_FINGERPRINT` | TLS, with the certificate of this SHA-256 |
    /// | `HARPCALLER_TOKEN_FILE` | the file whose first line is the token |
    /// | `HARPCALLER_TOKEN` | the token itself |
    ///
    /// One that is empty is as if it were not set. What the program sets afterwards counts in
    /// its place.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), harp_client::Error> {
    /// let rpc = harp_client::HarpCaller::from_env()?.client_name("shop").build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if `HARPCALLER` is not set,
    /// a variable is not UTF-8, or the fingerprint is none; the rest is looked at by
    /// [`build`](HarpCallerBuilder::build).
    pub fn from_env() -> Result<HarpCallerBuilder, Error> {
        from(|name| match env::var(name) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            Err(env::VarError::NotPresent) => Ok(None),
            Err(error) => Err(Error::invalid_input(format!("{name}: {error}"))),
        })
    }
}

fn from(
    variable: impl Fn(&str) -> Result<Option<String>, Error>,
) -> Result<HarpCallerBuilder, Error> {
    let address = variable(ADDRESS)?.ok_or_else(|| {
        Error::invalid_input(format!(
            "{ADDRESS}: is not set; it has the dispatcher's address, as in \
             dispatcher.example.net:3502"
        ))
    })?;
    let mut builder = HarpCaller::builder(address);
    if let Some(file) = variable("HARPCALLER_CA_FILE")? {
        builder = builder.tls(Tls::ca_file(file));
    }
    if let Some(fingerprint) = variable("HARPCALLER_FINGERPRINT")? {
        let fingerprint = fingerprint
            .parse()
            .map_err(|error| Error::invalid_input(format!("HARPCALLER_FINGERPRINT: {error}")))?;
        builder = builder.tls(Tls::fingerprint(fingerprint));
    }
    if let Some(file) = variable("HARPCALLER_TOKEN_FILE")? {
        builder = builder.token_file(file);
    }
    if let Some(token) = variable("HARPCALLER_TOKEN")? {
        builder = builder.token(token);
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variables: &[(&str, &str)]) -> Result<String, String> {
        let builder = from(|name| {
            let found = variables.iter().find(|(there, _)| *there == name);
            Ok(found.map(|(_, value)| (*value).to_owned()))
        });
        let built = builder.and_then(HarpCallerBuilder::build);
        built
            .map(|rpc| format!("{rpc:?}"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn each_variable_counts() {
        let address = ("HARPCALLER", "web");
        assert_eq!(told(&[address]).unwrap(), "HarpCaller(\"web:3502\")");
        for (variables, names) in [
            (&[][..], "HARPCALLER: is not set"),
            (&[address, ("HARPCALLER_CA_FILE", "/nowhere")], "/nowhere"),
            (
                &[address, ("HARPCALLER_FINGERPRINT", "x")],
                "HARPCALLER_FINGERPRINT",
            ),
            (
                &[address, ("HARPCALLER_TOKEN_FILE", "/nowhere")],
                "token_file /nowhere",
            ),
            (&[address, ("HARPCALLER_TOKEN", "t")], "without TLS"),
        ] {
            let error = told(variables).unwrap_err();
            assert!(error.contains(names), "{error}");
        }
    }
}
