//! Attributes of a node, from text to the typed structs of the op table.

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;

/// A value of an attribute as the text has it.
#[derive(Clone, Debug, PartialEq)]
pub enum AttrValue {
    /// `true` or `false`.
    Bool(bool),
    /// A number without sign, fraction and exponent.
    Int(u64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
}

impl<'de> Deserialize<'de> for AttrValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;
        impl Visitor<'_> for Value {
            type Value = AttrValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a boolean or a string")
            }
            fn visit_bool<E: Error>(self, v: bool) -> Result<AttrValue, E> {
                Ok(AttrValue::Bool(v))
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<AttrValue, E> {
                Ok(AttrValue::Int(v))
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<AttrValue, E> {
                Ok(AttrValue::Float(v as f64))
            }
            fn visit_f64<E: Error>(self, v: f64) -> Result<AttrValue, E> {
                Ok(AttrValue::Float(v))
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<AttrValue, E> {
                Ok(AttrValue::Text(v.to_owned()))
            }
        }
        deserializer.deserialize_any(Value)
    }
}

/// Takes the attributes of a node one by one and notes what is wrong.
pub(crate) struct AttrReader<'a> {
    values: &'a [(String, AttrValue)],
    known: Vec<&'static str>,
    pub(crate) problems: Vec<String>,
}

impl<'a> AttrReader<'a> {
    pub(crate) fn new(values: &'a [(String, AttrValue)]) -> Self {
        AttrReader { values, known: Vec::new(), problems: Vec::new() }
    }

    fn take<T>(&mut self, name: &'static str, wanted: &str, convert: impl Fn(&AttrValue) -> Option<T>) -> Option<T> {
        self.known.push(name);
        let found = self.values.iter().find(|(n, _)| n == name);
        let value = found.and_then(|(_, v)| convert(v));
        if value.is_none() {
            self.problems.push(match found {
                Some((_, v)) => format!("attribute {name} is {v:?}, not {wanted}"),
                None => format!("attribute {name} is missing"),
            });
        }
        value
    }

    pub(crate) fn f32(&mut self, name: &'static str) -> Option<f32> {
        self.take(name, "a finite f32", |v| match v {
            AttrValue::Int(i) => Some(*i as f32),
            AttrValue::Float(f) => Some(*f as f32).filter(|f| f.is_finite()),
            _ => None,
        })
    }

    pub(crate) fn u32(&mut self, name: &'static str) -> Option<u32> {
        self.take(name, "an integer below 2^32", |v| match v {
            AttrValue::Int(i) => u32::try_from(*i).ok(),
            _ => None,
        })
    }

    pub(crate) fn bool(&mut self, name: &'static str) -> Option<bool> {
        self.take(name, "a boolean", |v| match v {
            AttrValue::Bool(b) => Some(*b),
            _ => None,
        })
    }

    pub(crate) fn choice<T: Copy>(&mut self, name: &'static str, all: &[T], spell: fn(T) -> &'static str) -> Option<T> {
        let wanted = all.iter().map(|t| spell(*t)).collect::<Vec<_>>().join(" or ");
        self.take(name, &wanted, |v| match v {
            AttrValue::Text(s) => all.iter().copied().find(|t| spell(*t) == s),
            _ => None,
        })
    }

    /// Notes the attributes that nobody took, and names given twice.
    pub(crate) fn finish(mut self) -> Vec<String> {
        for (i, (name, _)) in self.values.iter().enumerate() {
            if !self.known.contains(&name.as_str()) {
                self.problems.push(format!("attribute {name} is unknown"));
            } else if self.values[..i].iter().any(|(n, _)| n == name) {
                self.problems.push(format!("attribute {name} is given twice"));
            }
        }
        self.problems
    }
}
