//! One setting: its value and where that is from.

use std::ffi::OsStr;
use std::fmt::{self, Display};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use monitor_launch::Exitless;
use serde_json::{Value, json};

use crate::error::Fault;

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has set it.
    Default,
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// An option.
    Flag(&'static str),
}

impl Origin {
    /// What kind it is, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File(_) => "file",
            Self::Variable(_) => "environment",
            Self::Flag(_) => "flag",
        }
    }

    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Default | Self::Variable(_) | Self::Flag(_) => None,
        }
    }
}

impl Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File(path) => path.display().fmt(out),
            Self::Variable(name) => write!(out, "variable {name}"),
            Self::Flag(name) => out.write_str(name),
        }
    }
}

/// A value and where it is from. It is read as the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    value: T,
    origin: Origin,
}

impl<T> Deref for Setting<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Setting<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }

    /// An option wins if it is given.
    pub(crate) fn overrule(&mut self, value: Option<T>, flag: &'static str) {
        if let Some(value) = value {
            *self = Self { value, origin: Origin::Flag(flag) };
        }
    }

    pub(crate) fn set(&mut self, given: Given<'_>, origin: Origin) -> Result<(), Fault>
    where
        T: Shown,
    {
        let value = T::read(given).ok_or_else(|| {
            Fault::new(format!("found {given}, expected {}", T::EXPECTED), T::FIX)
        })?;
        *self = Self { value, origin };
        Ok(())
    }

    pub(crate) fn shown(&self, name: &'static str) -> (&'static str, Value, &Origin)
    where
        T: Shown,
    {
        (name, self.value.shown(), &self.origin)
    }
}

/// What a file or a variable says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Given<'a> {
    Toml(&'a toml::Value),
    Word(&'a OsStr),
}

impl<'a> Given<'a> {
    fn text(self) -> Option<&'a str> {
        match self {
            Self::Toml(value) => value.as_str(),
            Self::Word(word) => word.to_str(),
        }
    }
}

impl Display for Given<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Toml(value) => match value.as_str() {
                Some(text) => write!(out, "{text:?}"),
                None => write!(out, "a value of type {}", value.type_str()),
            },
            Self::Word(word) => write!(out, "{:?}", word.to_string_lossy()),
        }
    }
}

/// What a setting's value can be.
pub(crate) trait Shown: Sized {
    /// The words for it.
    const EXPECTED: &str;
    /// What helps where it is something else.
    const FIX: &str;

    fn read(given: Given<'_>) -> Option<Self>;
    fn shown(&self) -> Value;
}

impl Shown for bool {
    const EXPECTED: &str = "true or false";
    const FIX: &str = "write true or false, in a file without quotes";

    fn read(given: Given<'_>) -> Option<Self> {
        match given {
            Given::Toml(value) => value.as_bool(),
            Given::Word(_) => given.text()?.parse().ok(),
        }
    }

    fn shown(&self) -> Value {
        json!(self)
    }
}

impl Shown for Exitless {
    const EXPECTED: &str = "auto, on or off";
    const FIX: &str = "write \"auto\" unless another was measured to be quicker";

    fn read(given: Given<'_>) -> Option<Self> {
        given.text()?.parse().ok()
    }

    fn shown(&self) -> Value {
        json!(match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

/// A directory, or none for the usual one.
impl Shown for Option<PathBuf> {
    const EXPECTED: &str = "an absolute path";
    const FIX: &str = "write where the directory is from / on, or leave it out for the usual one";

    fn read(given: Given<'_>) -> Option<Self> {
        let path = Path::new(given.text()?);
        path.is_absolute().then(|| Some(path.into()))
    }

    fn shown(&self) -> Value {
        json!(self)
    }
}
