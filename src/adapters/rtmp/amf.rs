//! AMF0, as far as RTMP needs it (Adobe AMF 0 specification). What is read is bounded in depth by a number and in size by
//! the message it came in.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Objects within objects that are believed. Encoders send two.
const DEPTH_MAX: usize = 32;

mod mark {
    pub(super) const NUMBER: u8 = 0;
    pub(super) const BOOLEAN: u8 = 1;
    pub(super) const STRING: u8 = 2;
    pub(super) const OBJECT: u8 = 3;
    pub(super) const NULL: u8 = 5;
    pub(super) const UNDEFINED: u8 = 6;
    pub(super) const REFERENCE: u8 = 7;
    pub(super) const ECMA_ARRAY: u8 = 8;
    pub(super) const OBJECT_END: u8 = 9;
    pub(super) const STRICT_ARRAY: u8 = 10;
    pub(super) const DATE: u8 = 11;
    pub(super) const LONG_STRING: u8 = 12;
    pub(super) const UNSUPPORTED: u8 = 13;
    pub(super) const XML: u8 = 15;
    pub(super) const TYPED_OBJECT: u8 = 16;
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Number(f64),
    Boolean(bool),
    Text(String),
    Object(Vec<(String, Value)>),
    List(Vec<Value>),
    Null,
}

impl Value {
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub const fn as_number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// A field of an object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(fields) = self else { return None };
        fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }
}

/// What came is no AMF0 of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmfError {
    #[error("AMF that ends too early")]
    Short,
    #[error("AMF with more than {DEPTH_MAX} objects within each other")]
    Deep,
    #[error("AMF with an unknown mark {0}")]
    Mark(u8),
}

/// Reads values one after the other, to the end.
pub fn decode(mut bytes: Bytes) -> Result<Vec<Value>, AmfError> {
    let mut values = Vec::new();
    while bytes.has_remaining() {
        values.push(value(&mut bytes, 0)?);
    }
    Ok(values)
}

fn value(bytes: &mut Bytes, depth: usize) -> Result<Value, AmfError> {
    if depth > DEPTH_MAX {
        return Err(AmfError::Deep);
    }
    let short = |_| AmfError::Short;
    let mark = bytes.try_get_u8().map_err(short)?;
    Ok(match mark {
        mark::NUMBER => Value::Number(bytes.try_get_f64().map_err(short)?),
        mark::BOOLEAN => Value::Boolean(bytes.try_get_u8().map_err(short)? != 0),
        mark::STRING => Value::Text(short_text(bytes)?),
        mark::LONG_STRING | mark::XML => {
            let length = bytes.try_get_u32().map_err(short)?;
            Value::Text(text(bytes, length as usize)?)
        }
        mark::OBJECT => Value::Object(fields(bytes, depth)?),
        mark::TYPED_OBJECT => {
            short_text(bytes)?;
            Value::Object(fields(bytes, depth)?)
        }
        mark::ECMA_ARRAY => {
            // How many it says it has is not to be believed; its end is marked.
            bytes.try_get_u32().map_err(short)?;
            Value::Object(fields(bytes, depth)?)
        }
        mark::STRICT_ARRAY => {
            let count = bytes.try_get_u32().map_err(short)? as usize;
            // Each takes a byte at least.
            let mut values = Vec::with_capacity(count.min(bytes.remaining()).min(1_024));
            for _ in 0..count {
                values.push(value(bytes, depth + 1)?);
            }
            Value::List(values)
        }
        mark::DATE => {
            let ms = bytes.try_get_f64().map_err(short)?;
            bytes.try_get_i16().map_err(short)?;
            Value::Number(ms)
        }
        mark::NULL | mark::UNDEFINED | mark::UNSUPPORTED => Value::Null,
        mark::REFERENCE => {
            bytes.try_get_u16().map_err(short)?;
            Value::Null
        }
        other => return Err(AmfError::Mark(other)),
    })
}

fn fields(bytes: &mut Bytes, depth: usize) -> Result<Vec<(String, Value)>, AmfError> {
    let mut fields = Vec::new();
    loop {
        let name = short_text(bytes)?;
        if name.is_empty() && bytes.first() == Some(&mark::OBJECT_END) {
            bytes.advance(1);
            return Ok(fields);
        }
        fields.push((name, value(bytes, depth + 1)?));
    }
}

fn short_text(bytes: &mut Bytes) -> Result<String, AmfError> {
    let length = bytes.try_get_u16().map_err(|_| AmfError::Short)?;
    text(bytes, usize::from(length))
}

fn text(bytes: &mut Bytes, length: usize) -> Result<String, AmfError> {
    if bytes.remaining() < length {
        return Err(AmfError::Short);
    }
    Ok(String::from_utf8_lossy(&bytes.split_to(length)).into_owned())
}

/// Writes values one after the other.
pub fn encode(values: &[Value]) -> Bytes {
    let mut out = BytesMut::new();
    for value in values {
        put(&mut out, value);
    }
    out.freeze()
}

fn put(out: &mut BytesMut, value: &Value) {
    match value {
        Value::Number(number) => {
            out.put_u8(mark::NUMBER);
            out.put_f64(*number);
        }
        Value::Boolean(is_true) => {
            out.put_u8(mark::BOOLEAN);
            out.put_u8(u8::from(*is_true));
        }
        Value::Text(text) if u16::try_from(text.len()).is_ok() => {
            out.put_u8(mark::STRING);
            put_name(out, text);
        }
        Value::Text(text) => {
            out.put_u8(mark::LONG_STRING);
            out.put_u32(text.len() as u32);
            out.put_slice(text.as_bytes());
        }
        Value::Object(fields) => {
            out.put_u8(mark::OBJECT);
            for (name, value) in fields {
                put_name(out, name);
                put(out, value);
            }
            out.put_slice(&[0, 0, mark::OBJECT_END]);
        }
        Value::List(values) => {
            out.put_u8(mark::STRICT_ARRAY);
            out.put_u32(values.len() as u32);
            for value in values {
                put(out, value);
            }
        }
        Value::Null => out.put_u8(mark::NULL),
    }
}

fn put_name(out: &mut BytesMut, name: &str) {
    let bytes = &name.as_bytes()[..name.len().min(usize::from(u16::MAX))];
    out.put_u16(bytes.len() as u16);
    out.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            (-1e9..1e9_f64).prop_map(Value::Number),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,40}".prop_map(Value::Text),
            Just(Value::Null),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(("[a-z]{1,8}", inner.clone()), 0..5).prop_map(Value::Object),
                prop::collection::vec(inner, 0..5).prop_map(Value::List),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(values in prop::collection::vec(values(), 0..5)) {
            prop_assert_eq!(decode(encode(&values)), Ok(values));
        }

        #[test]
        fn nothing_that_comes_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode(bytes.into());
        }
    }

    #[test]
    fn objects_within_objects_without_end_are_refused() {
        let bomb: Vec<u8> = std::iter::repeat_n([3, 0, 1, b'a'], 5_000).flatten().collect();
        assert_eq!(decode(bomb.into()), Err(AmfError::Deep));
        let lists: Vec<u8> = std::iter::repeat_n([10, 0, 0, 0, 1], 5_000).flatten().collect();
        assert_eq!(decode(lists.into()), Err(AmfError::Deep));
        assert_eq!(decode(vec![10, 0xff, 0xff, 0xff, 0xff].into()), Err(AmfError::Short));
    }

    #[test]
    fn an_array_with_names_is_an_object() {
        let mut bytes = vec![8, 0, 0, 0, 9, 0, 5];
        bytes.extend(b"width");
        bytes.extend([0]);
        bytes.extend(1_280_f64.to_be_bytes());
        bytes.extend([0, 0, 9]);
        let read = decode(bytes.into()).unwrap();
        assert_eq!(read[0].get("width").and_then(Value::as_number), Some(1_280.0));
    }
}
