//! H.264 as containers carry it: units, parameter sets and the MP4 header (ITU-T H.264, ISO/IEC 14496-15).

/// Unit types we look for (H.264 table 7-1).
const UNIT_IDR: u8 = 5;
const UNIT_SPS: u8 = 7;
const UNIT_PPS: u8 = 8;
const UNIT_DELIMITER: u8 = 9;

/// How units are told apart inside a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Start codes, as MPEG-TS has them.
    StartCodes,
    /// A length of this many bytes before each unit, as MP4, MKV and FLV have it.
    Lengths(usize),
}

/// The parameter sets of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParameterSets {
    pub framing: Framing,
    pub sps: Vec<Vec<u8>>,
    pub pps: Vec<Vec<u8>>,
}

impl ParameterSets {
    /// Reads them from a stream's private header, in either form. None when it is no H.264 header.
    pub(super) fn parse(header: &[u8]) -> Option<Self> {
        if header.first() == Some(&1) {
            Self::parse_avcc(header)
        } else {
            Self::parse_start_codes(header)
        }
    }

    fn parse_start_codes(header: &[u8]) -> Option<Self> {
        let mut sets = Self { framing: Framing::StartCodes, sps: Vec::new(), pps: Vec::new() };
        for unit in units(header, Framing::StartCodes)? {
            match unit_type(unit) {
                UNIT_SPS => sets.sps.push(unit.to_vec()),
                UNIT_PPS => sets.pps.push(unit.to_vec()),
                _ => {}
            }
        }
        (!sets.sps.is_empty() && !sets.pps.is_empty()).then_some(sets)
    }

    fn parse_avcc(header: &[u8]) -> Option<Self> {
        let length_size = usize::from(header.get(4)? & 3) + 1;
        let mut rest = header.get(5..)?;
        let mut list = |mask: u8| {
            let count = usize::from(rest.first()? & mask);
            rest = &rest[1..];
            let mut found = Vec::with_capacity(count);
            for _ in 0..count {
                let len = usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?));
                found.push(rest.get(2..2 + len)?.to_vec());
                rest = &rest[2 + len..];
            }
            Some(found)
        };
        let sps = list(0x1f)?;
        let pps = list(0xff)?;
        (!sps.is_empty() && !pps.is_empty()).then_some(Self {
            framing: Framing::Lengths(length_size),
            sps,
            pps,
        })
    }

    /// An id that neither a sequence nor a picture parameter set of this stream uses, for the edges' own sets.
    pub(super) fn free_id(&self) -> Option<u32> {
        /// Sequence parameter sets are numbered 0 to 31 (H.264 §7.4.2.1.1).
        const SPS_ID_MAX: u32 = 31;
        let used: Vec<u32> = self
            .sps
            .iter()
            .filter_map(|sps| sps_id(sps))
            .chain(self.pps.iter().filter_map(|pps| pps_id(pps)))
            .collect();
        (1..=SPS_ID_MAX).find(|id| !used.contains(id))
    }

    /// An MP4 header (`avcC`) that lists the sets of both streams. Profile and level are the first's, the level
    /// raised to the second's if that is higher.
    pub(super) fn joined_avcc(&self, edges: Option<&Self>) -> Option<Vec<u8>> {
        let first = self.sps.first()?;
        let [_, profile, compatibility, level, ..] = first[..] else { return None };
        let mut sps: Vec<&Vec<u8>> = self.sps.iter().collect();
        let mut pps: Vec<&Vec<u8>> = self.pps.iter().collect();
        let mut level = level;
        if let Some(edges) = edges {
            sps.extend(&edges.sps);
            pps.extend(&edges.pps);
            level = level.max(*edges.sps.first()?.get(3)?);
        }
        let mut avcc =
            vec![1, profile, compatibility, level, 0xfc | 3, 0xe0 | u8::try_from(sps.len()).ok()?];
        for set in sps {
            avcc.extend(u16::try_from(set.len()).ok()?.to_be_bytes());
            avcc.extend(set);
        }
        avcc.push(u8::try_from(pps.len()).ok()?);
        for set in pps {
            avcc.extend(u16::try_from(set.len()).ok()?.to_be_bytes());
            avcc.extend(set);
        }
        if !matches!(profile, 66 | 77 | 88) {
            // Chroma 4:2:0, 8 bits, no extension: all that is copied (ISO/IEC 14496-15 §5.3.3.1).
            avcc.extend([0xfc | 1, 0xf8, 0xf8, 0]);
        }
        Some(avcc)
    }

    fn knows(&self, unit: &[u8]) -> bool {
        self.sps.iter().chain(&self.pps).any(|set| set == unit)
    }
}

/// What a packet holds, rewritten for an MP4.
pub(super) struct Picture {
    /// Units with four-byte lengths, parameter sets left out.
    pub bytes: Vec<u8>,
    /// True when decoding can start here with nothing kept from before.
    pub is_idr: bool,
    /// True when it carried a parameter set the header does not list.
    pub new_settings: bool,
}

/// Rewrites one packet for an MP4 whose header lists `sets`. None when it is malformed.
pub(super) fn repack(packet: &[u8], sets: &ParameterSets) -> Option<Picture> {
    let mut picture = Picture {
        bytes: Vec::with_capacity(packet.len() + 16),
        is_idr: false,
        new_settings: false,
    };
    for unit in units(packet, sets.framing)? {
        match unit_type(unit) {
            UNIT_SPS | UNIT_PPS => {
                picture.new_settings |= !sets.knows(unit);
                continue;
            }
            UNIT_DELIMITER => continue,
            UNIT_IDR => picture.is_idr = true,
            _ => {}
        }
        picture.bytes.extend(u32::try_from(unit.len()).ok()?.to_be_bytes());
        picture.bytes.extend(unit);
    }
    (!picture.bytes.is_empty()).then_some(picture)
}

/// True when the unit lengths of `packet` add up: data that was overwritten or never written does not.
pub(super) fn lengths_add_up(packet: &[u8], length_size: usize) -> bool {
    units(packet, Framing::Lengths(length_size)).is_some_and(|units| !units.is_empty())
}

/// Splits a packet into its units. None when a length runs over the end.
fn units(data: &[u8], framing: Framing) -> Option<Vec<&[u8]>> {
    match framing {
        Framing::Lengths(size) => {
            let mut rest = data;
            let mut found = Vec::new();
            while !rest.is_empty() {
                let len = rest
                    .get(..size)?
                    .iter()
                    .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
                let unit = rest.get(size..size.checked_add(len)?)?;
                if unit.is_empty() {
                    return None;
                }
                found.push(unit);
                rest = &rest[size + len..];
            }
            Some(found)
        }
        Framing::StartCodes => {
            let mut starts = Vec::new();
            let mut at = 0;
            while at + 3 <= data.len() {
                if data[at + 2] > 1 {
                    at += 3;
                } else if data[at..at + 3] == [0, 0, 1] {
                    starts.push(at);
                    at += 3;
                } else {
                    at += 1;
                }
            }
            let ends = starts.iter().skip(1).copied().chain([data.len()]);
            let found = starts
                .iter()
                .zip(ends)
                .map(|(start, end)| {
                    let unit = &data[start + 3..end];
                    let len = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                    &unit[..len]
                })
                .filter(|unit| !unit.is_empty())
                .collect();
            Some(found)
        }
    }
}

fn unit_type(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |byte| byte & 0x1f)
}

/// The id of a sequence parameter set: after the unit header, profile, constraints and level.
fn sps_id(sps: &[u8]) -> Option<u32> {
    exp_golomb(sps.get(4..)?)
}

/// The id of a picture parameter set: right after the unit header.
fn pps_id(pps: &[u8]) -> Option<u32> {
    exp_golomb(pps.get(1..)?)
}

/// The first unsigned Exp-Golomb number of `bytes` (H.264 §9.1), up to 16 bits.
fn exp_golomb(bytes: &[u8]) -> Option<u32> {
    let bit = |index: usize| Some(bytes.get(index / 8)? >> (7 - index % 8) & 1);
    let mut zeros = 0;
    while bit(zeros)? == 0 {
        zeros += 1;
        if zeros > 16 {
            return None;
        }
    }
    let mut value = 0_u32;
    for index in zeros..=2 * zeros {
        value = value << 1 | u32::from(bit(index)?);
    }
    Some(value - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_numbers_are_read() {
        assert_eq!(exp_golomb(&[0b1000_0000]), Some(0));
        assert_eq!(exp_golomb(&[0b0100_0000]), Some(1));
        assert_eq!(exp_golomb(&[0b0010_0000]), Some(3));
        assert_eq!(exp_golomb(&[0b0000_0000]), None);
    }

    #[test]
    fn a_length_that_runs_over_the_end_is_refused() {
        assert!(lengths_add_up(&[0, 0, 0, 2, 0x65, 1], 4));
        assert!(!lengths_add_up(&[0, 0, 0, 3, 0x65, 1], 4));
        assert!(!lengths_add_up(&[0; 64], 4));
    }

    #[test]
    fn both_framings_give_the_same_units() {
        let sets =
            |framing| ParameterSets { framing, sps: vec![vec![0x67, 1]], pps: vec![vec![0x68, 1]] };
        let codes = [0, 0, 0, 1, 9, 0xf0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x65, 7, 7];
        let lengths = [0, 0, 0, 2, 0x67, 1, 0, 0, 0, 3, 0x65, 7, 7];
        let from_codes = repack(&codes, &sets(Framing::StartCodes)).unwrap();
        let from_lengths = repack(&lengths, &sets(Framing::Lengths(4))).unwrap();
        assert_eq!(from_codes.bytes, from_lengths.bytes);
        assert_eq!(from_codes.bytes, [0, 0, 0, 3, 0x65, 7, 7]);
        assert!(from_codes.is_idr && !from_codes.new_settings);
    }
}
