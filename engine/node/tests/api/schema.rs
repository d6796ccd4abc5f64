//! The part of JSON Schema 2020-12 that the interface's schemas are written in. A keyword outside it is an error, so
//! that nothing is written down that is not checked.

use serde_json::{Map, Value};

/// A document with `components/schemas`.
pub struct Schemas<'a>(pub &'a Value);

impl<'a> Schemas<'a> {
    /// What a local reference leads to.
    pub fn resolve(&self, reference: &str) -> Result<&'a Value, String> {
        let pointer = reference
            .strip_prefix('#')
            .ok_or_else(|| format!("{reference} leads out of the document"))?;
        self.0
            .pointer(pointer)
            .ok_or_else(|| format!("{reference} leads nowhere"))
    }

    /// What is wrong with `value`, and where, when it is not as `schema` says.
    pub fn check(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let keywords = object(schema)?;
        for (keyword, said) in keywords {
            self.keyword(keywords, keyword, said, value)
                .map_err(|error| format!("{keyword}: {error}"))?;
        }
        Ok(())
    }

    fn keyword(
        &self,
        schema: &Map<String, Value>,
        keyword: &str,
        said: &Value,
        value: &Value,
    ) -> Result<(), String> {
        match keyword {
            "description" | "default" | "contentEncoding" => expect(
                keyword == "default" || said.is_string(),
                "it must be a text",
            ),
            "$ref" => self.check(self.resolve(text(said)?)?, value),
            "type" => expect(
                is_type(text(said)?, value)?,
                &format!("{value} is no {said}"),
            ),
            "const" => expect(said == value, &format!("{value} is not {said}")),
            "enum" => {
                let is_one = array(said)?.contains(value);
                expect(is_one, &format!("{value} is none of {said}"))
            }
            "minimum" | "maximum" => {
                let (Some(bound), Some(number)) = (said.as_f64(), value.as_f64()) else {
                    return expect(said.is_number(), "it must be a number");
                };
                let is_within = if keyword == "minimum" {
                    number >= bound
                } else {
                    number <= bound
                };
                expect(is_within, &format!("{value} is beyond {said}"))
            }
            "pattern" => pattern(text(said)?, value),
            "required" => {
                let Value::Object(members) = value else {
                    return Ok(());
                };
                let missing = array(said)?
                    .iter()
                    .find(|name| name.as_str().is_none_or(|name| !members.contains_key(name)));
                expect(
                    missing.is_none(),
                    &format!("{missing:?} is missing in {value}"),
                )
            }
            "properties" => {
                for (name, schema) in object(said)? {
                    if let Some(member) = value.get(name) {
                        self.check(schema, member)
                            .map_err(|error| format!("{name}: {error}"))?;
                    }
                }
                Ok(())
            }
            "additionalProperties" => self.additional(schema, said, value),
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    self.check(said, item)?;
                }
                Ok(())
            }
            "oneOf" | "anyOf" => {
                let tried: Vec<_> = array(said)?
                    .iter()
                    .map(|schema| self.check(schema, value))
                    .collect();
                let matching = tried.iter().filter(|result| result.is_ok()).count();
                let is_right = if keyword == "oneOf" {
                    matching == 1
                } else {
                    matching > 0
                };
                expect(is_right, &format!("{matching} match {value}: {tried:?}"))
            }
            _ => Err("a keyword that is not checked here".to_owned()),
        }
    }

    fn additional(
        &self,
        schema: &Map<String, Value>,
        said: &Value,
        value: &Value,
    ) -> Result<(), String> {
        let described = schema.get("properties").and_then(Value::as_object);
        for (name, member) in value.as_object().into_iter().flatten() {
            if described.is_some_and(|described| described.contains_key(name)) {
                continue;
            }
            match said {
                Value::Bool(false) => return Err(format!("`{name}` is not described")),
                Value::Bool(true) => {}
                schema => self.check(schema, member)?,
            }
        }
        Ok(())
    }
}

/// Only `^[set]{n}$` is needed.
fn pattern(pattern: &str, value: &Value) -> Result<(), String> {
    let parsed = pattern.strip_prefix("^[").and_then(|rest| {
        let (set, count) = rest.split_once("]{")?;
        Some((
            set.as_bytes(),
            count.strip_suffix("}$")?.parse::<usize>().ok()?,
        ))
    });
    let Some((set, count)) = parsed else {
        return Err(format!("{pattern} is not of the form that is checked here"));
    };
    let Some(text) = value.as_str() else {
        return Ok(());
    };
    let is_in_set = |byte: u8| {
        set.chunks(3)
            .any(|range| (range[0]..=range[2]).contains(&byte))
    };
    let is_match = text.len() == count && text.bytes().all(is_in_set);
    expect(is_match, &format!("{value} does not match {pattern}"))
}

fn is_type(name: &str, value: &Value) -> Result<bool, String> {
    Ok(match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => return Err(format!("no type `{name}`")),
    })
}

fn expect(is_so: bool, otherwise: &str) -> Result<(), String> {
    is_so.then_some(()).ok_or_else(|| otherwise.to_owned())
}

pub fn object(value: &Value) -> Result<&Map<String, Value>, String> {
    value
        .as_object()
        .ok_or_else(|| format!("{value} must be an object"))
}

pub fn array(value: &Value) -> Result<&Vec<Value>, String> {
    value
        .as_array()
        .ok_or_else(|| format!("{value} must be an array"))
}

pub fn text(value: &Value) -> Result<&str, String> {
    value
        .as_str()
        .ok_or_else(|| format!("{value} must be a text"))
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let document = serde_json::json!({"components": {"schemas": {
        "Pair": {
            "type": "object",
            "properties": {"a": {"type": "integer", "minimum": 1}, "b": {"$ref": "#/components/schemas/B"}},
            "required": ["a"],
            "additionalProperties": false
        },
        "B": {"oneOf": [{"type": "string", "pattern": "^[0-9a-f]{2}$"}, {"type": "null"}, {"enum": ["", "00"]}]}
    }}});
    let schemas = Schemas(&document);
    let schema = schemas.resolve("#/components/schemas/Pair").expect("there");
    for good in [
        r#"{"a": 1}"#,
        r#"{"a": 2, "b": "1f"}"#,
        r#"{"a": 2, "b": null}"#,
        r#"{"a": 2, "b": ""}"#,
    ] {
        let value = serde_json::from_str(good).expect("JSON");
        assert_eq!(schemas.check(schema, &value), Ok(()), "{good}");
    }
    for bad in [
        "[]",
        "{}",
        r#"{"a": 0}"#,
        r#"{"a": 1.5}"#,
        r#"{"a": "1"}"#,
        r#"{"a": 1, "b": "1g"}"#,
        r#"{"a": 1, "b": "1ff"}"#,
        r#"{"a": 1, "b": 7}"#,
        r#"{"a": 1, "b": "00"}"#,
        r#"{"a": 1, "c": 1}"#,
    ] {
        let value = serde_json::from_str(bad).expect("JSON");
        assert!(schemas.check(schema, &value).is_err(), "{bad}");
    }
    let unknown = serde_json::json!({"format": "int64"});
    assert!(schemas.check(&unknown, &Value::Null).is_err());
}
