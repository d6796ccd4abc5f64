use super::*;
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use http::HeaderValue;
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::io::Write;

fn decoder(codings: &'static str) -> Result<Decoder, CodingError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(codings));
    Decoder::for_headers(&headers)
}

/// Decodes a body that comes in pieces of `step` bytes, and stops beyond `limit`.
fn decode(
    codings: &'static str,
    body: &[u8],
    step: usize,
    limit: usize,
) -> Result<Vec<u8>, CodingError> {
    let mut decoder = decoder(codings)?;
    let mut out = Vec::new();
    for piece in body.chunks(step) {
        let flow = decoder.push(piece, &mut |piece| {
            assert!(piece.len() <= PIECE_BYTES.max(step));
            out.extend_from_slice(piece);
            match out.len() > limit {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        if flow.is_break() {
            return Ok(out);
        }
    }
    decoder.finish()?;
    Ok(out)
}

fn text() -> Vec<u8> {
    (0..20_000u32)
        .flat_map(|n| format!("<li>{} {}</li>\n", n, n.wrapping_mul(2_654_435_761)).into_bytes())
        .collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

fn bare(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// Brotli by the letter: meta-blocks that hold their bytes uncompressed (RFC 7932, section 9.2), window of 64 KiB.
fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // Bits of WBITS (one zero bit: 16), then ISLAST 0, MNIBBLES 4 (00), MLEN - 1 in 16 bits, ISUNCOMPRESSED 1.
    let mut first = true;
    for chunk in bytes.chunks(65_536) {
        let len = (chunk.len() - 1) as u32;
        let block = len << 3 | 1 << 19;
        let bits = if first { block << 1 } else { block };
        first = false;
        out.extend_from_slice(&bits.to_le_bytes()[..3]);
        out.extend_from_slice(chunk);
    }
    // ISLAST 1, ISLASTEMPTY 1; behind WBITS if nothing came before.
    out.push(if first { 0b110 } else { 0b11 });
    out
}

#[test]
fn every_coding_is_undone_however_it_comes() {
    let text = text();
    for step in [1, 7, 4_096, 1 << 20] {
        for (codings, body) in [
            ("identity", text.clone()),
            ("gzip", gzip(&text)),
            ("X-GZip", gzip(&text)),
            ("deflate", zlib(&text)),
            ("deflate", bare(&text)),
            ("br", brotli(&text)),
            ("zstd", zstd(&text)),
            ("gzip, br", brotli(&gzip(&text))),
            ("deflate , identity,gzip,zstd", zstd(&gzip(&bare(&text)))),
        ] {
            let out = decode(codings, &body, step, usize::MAX).expect(codings);
            assert!(out == text, "{codings} by {step}");
        }
    }
}

#[test]
fn members_and_frames_follow_each_other() {
    let two = [gzip(b"one, "), gzip(b"two")].concat();
    assert_eq!(
        decode("gzip", &two, 3, 100).expect("two members"),
        b"one, two"
    );
    let padded = [gzip(b"one"), vec![0; 500]].concat();
    assert_eq!(decode("gzip", &padded, 3, 100).expect("padding"), b"one");
    let skipped = b"\x53\x2a\x4d\x18\x03\0\0\0abc";
    let frames = [&zstd(b"one, ")[..], skipped, &zstd(b"two")].concat();
    assert_eq!(
        decode("zstd", &frames, 1, 100).expect("frames"),
        b"one, two"
    );
}

#[test]
fn a_gzip_header_with_everything_in_it() {
    let plain = gzip(b"named");
    let mut body = vec![0x1f, 0x8b, 8, 2 | 4 | 8 | 16, 0, 0, 0, 0, 0, 3];
    body.extend_from_slice(b"\x05\0extraname\0comment\0hc");
    body.extend_from_slice(&plain[10..]);
    assert_eq!(decode("gzip", &body, 1, 100).expect("a header"), b"named");
    body[3] |= 0x20;
    assert!(decode("gzip", &body, 1, 100).is_err());
}

#[test]
fn nothing_at_all_is_an_empty_body_in_any_coding() {
    for codings in ["gzip", "deflate", "br", "zstd", "gzip, br"] {
        assert_eq!(decode(codings, b"", 1, 100).expect(codings), b"");
    }
    for (codings, body) in [
        ("gzip", gzip(b"")),
        ("deflate", zlib(b"")),
        ("br", brotli(b"")),
        ("zstd", zstd(b"")),
    ] {
        assert_eq!(decode(codings, &body, 1, 100).expect(codings), b"");
    }
}

#[test]
fn what_is_cut_or_damaged_is_said_to_be() {
    let text = text();
    for (codings, body) in [
        ("gzip", gzip(&text)),
        ("deflate", zlib(&text)),
        ("deflate", bare(&text)),
        ("br", brotli(&text)),
        ("zstd", zstd(&text)),
    ] {
        for len in [1, 2, 9, 100, body.len() / 2, body.len() - 1] {
            let error = decode(codings, &body[..len], 512, usize::MAX).expect_err(codings);
            assert!(matches!(error, CodingError::Invalid { .. }), "{error}");
        }
    }
    let mut wrong = gzip(&text);
    let at = wrong.len() - 6;
    wrong[at] ^= 1;
    let error = decode("gzip", &wrong, 512, usize::MAX).expect_err("a wrong checksum");
    assert!(error.to_string().contains("checksum"), "{error}");
    for codings in ["gzip", "br", "zstd", "deflate"] {
        let page = b"<!doctype html><title>not compressed at all</title>";
        assert!(decode(codings, page, 512, 1_000).is_err(), "{codings}");
    }
}

#[test]
fn unknown_and_too_many_codings_are_refused() {
    assert!(decoder("gzip, gzip, gzip, gzip").is_ok());
    for codings in ["compress", "gzip, snappy", "br,br,br,br,br"] {
        let error = decoder(codings).map(drop).expect_err(codings);
        assert!(matches!(error, CodingError::Unknown(_)), "{error}");
    }
}

#[test]
fn bombs_are_stopped_where_the_sink_says() {
    const LIMIT: usize = 1 << 20;
    let zeros = vec![0; 50 << 20];
    // A repeated byte of 128 KiB in four bytes, a thousand times.
    let mut zstd_bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0x58];
    for _ in 0..1_000 {
        zstd_bomb.extend_from_slice(&[2, 0, 0x10, 0]);
    }
    // 100 MiB of zeros, made by the reference encoder at its best.
    let brotli_bomb = BROTLI_BOMB;
    for (codings, body) in [
        ("gzip", gzip(&zeros)),
        ("deflate", zlib(&zeros)),
        ("gzip, gzip", gzip(&gzip(&zeros))),
        ("zstd", zstd_bomb),
        ("br", brotli_bomb.to_vec()),
    ] {
        let out = decode(codings, &body, 64 << 10, LIMIT).expect(codings);
        assert!(
            out.len() > LIMIT && out.len() <= LIMIT + PIECE_BYTES,
            "{codings}"
        );
    }
}

#[test]
fn windows_beyond_the_bound_are_refused() {
    // zstd: a window of 16 MiB. br: the large windows that are no part of RFC 7932.
    let zstd_window = [0x28, 0xb5, 0x2f, 0xfd, 0, 0x70, 1, 0, 0];
    assert!(decode("zstd", &zstd_window, 100, 100).is_err());
    let large_brotli = [0x11, 0x1e, 0x03];
    assert!(decode("br", &large_brotli, 100, 100).is_err());
}

proptest! {
    #[test]
    fn any_text_comes_back(text in proptest::collection::vec(any::<u8>(), 0..5_000), step in 1usize..600) {
        for (codings, body) in [
            ("gzip", gzip(&text)),
            ("deflate", zlib(&text)),
            ("br", brotli(&text)),
            ("zstd", zstd(&text)),
        ] {
            prop_assert_eq!(&decode(codings, &body, step, usize::MAX).expect(codings), &text);
        }
    }

    #[test]
    fn damage_never_panics(
        which in 0usize..5,
        flips in proptest::collection::vec((any::<usize>(), 1u8..), 1..8),
        step in 1usize..5_000,
    ) {
        let text = &text()[..40_000];
        let (codings, mut body) = vec![
            ("gzip", gzip(text)),
            ("deflate", zlib(text)),
            ("deflate", bare(text)),
            ("zstd", zstd(text)),
            ("br", BROTLI_TEXT.to_vec()),
        ]
        .swap_remove(which);
        for (at, flip) in flips {
            let at = at % body.len();
            body[at] ^= flip;
        }
        let _ = decode(codings, &body, step, 1 << 20);
    }

    #[test]
    fn noise_never_panics(body in proptest::collection::vec(any::<u8>(), 0..2_000), step in 1usize..600) {
        for codings in ["gzip", "deflate", "br", "zstd", "zstd, br, deflate, gzip"] {
            let _ = decode(codings, &body, step, 1 << 20);
        }
        let framed = [&[0x28, 0xb5, 0x2f, 0xfd][..], &body].concat();
        let _ = decode("zstd", &framed, step, 1 << 20);
    }
}

const BROTLI_BOMB: &[u8] = &[
    207, 255, 255, 127, 248, 39, 0, 226, 177, 64, 32, 247, 254, 159, 255, 255, 255, 240, 79, 0,
    196, 97, 1, 128, 238, 253, 63, 255, 255, 255, 225, 159, 0, 136, 195, 34, 0, 221, 251, 127, 254,
    255, 255, 195, 63, 1, 16, 135, 5, 0, 186, 247, 255, 252, 255, 255, 135, 127, 2, 32, 14, 11, 0,
    116, 239, 255, 249, 255, 255, 15, 255, 4, 64, 28, 22, 0, 232, 222, 255, 231, 255, 255, 15, 254,
    9, 128, 56, 44, 0, 208, 189, 255, 1,
];

const BROTLI_TEXT: &[u8] = &[
    27, 241, 75, 0, 140, 211, 165, 54, 81, 186, 141, 116, 108, 152, 186, 33, 9, 236, 38, 200, 139,
    15, 255, 207, 90, 60, 234, 253, 81, 97, 200, 51, 97, 175, 51, 161, 74, 85, 201, 192, 151, 223,
    180, 140, 41, 93, 162, 185, 237, 230, 35, 161, 73, 50, 233, 31, 14, 253, 158, 250, 187, 255,
    254, 234, 248, 235, 248, 191, 251, 47, 222, 63, 14, 96, 254, 127, 167, 141, 125, 158, 11, 238,
    185, 105, 224, 185, 44, 240, 57, 75, 233, 231, 7, 240, 115, 220, 33, 207, 143, 139, 62, 95,
    207, 63, 204, 175, 48, 253, 154, 225, 23, 123, 177, 129, 123, 81, 24, 16, 34, 129, 193, 161,
    52, 124, 192, 65, 123, 72, 32, 22, 125, 14, 205, 97, 127, 184, 124, 76, 216, 86, 59, 76, 112,
    97, 206, 192, 5, 5, 124, 81, 19, 20, 82, 200, 195, 28, 18, 124, 139, 62, 23, 231, 112, 63, 208,
    31, 19, 144, 106, 135, 31, 92, 184, 53, 16, 22, 2, 195, 136, 208, 69, 0, 254, 226, 130, 92,
    116, 47, 88, 55, 4, 194, 96, 9, 131, 44, 12, 172, 48, 112, 132, 1, 39, 12, 71, 225, 98, 93,
    194, 197, 180, 133, 97, 70, 248, 226, 34, 14, 165, 56, 68, 226, 224, 136, 131, 191, 56, 104,
    197, 129, 16, 7, 72, 28, 46, 226, 112, 95, 188, 216, 37, 13, 3, 233, 11, 146, 134, 90, 26, 82,
    105, 200, 72, 131, 79, 26, 68, 105, 160, 165, 1, 149, 6, 140, 60, 220, 201, 23, 11, 242, 48,
    162, 63, 32, 127, 176, 229, 161, 43, 15, 129, 60, 88, 242, 160, 200, 131, 190, 50, 112, 149, 1,
    167, 12, 71, 229, 98, 93, 202, 197, 116, 41, 195, 140, 242, 197, 45, 101, 40, 149, 33, 86, 6,
    87, 29, 60, 234, 160, 85, 7, 66, 29, 32, 117, 184, 168, 195, 125, 245, 98, 151, 58, 12, 212,
    47, 68, 29, 154, 255, 154, 255, 135, 150, 255, 49, 37, 83, 108, 241, 5, 87, 68, 3, 133, 22, 88,
    80, 74, 203, 0, 46, 119, 135, 148, 229, 162, 97, 60, 135, 249, 55, 253, 209, 124, 18, 237, 205,
    102, 8, 87, 2, 3, 197, 18, 88, 20, 74, 203, 7, 92, 184, 135, 20, 96, 209, 112, 154, 195, 254,
    178, 249, 152, 50, 173, 118, 153, 224, 110, 206, 51, 192, 155, 82, 192, 18, 19, 42, 46, 228,
    101, 14, 41, 186, 69, 3, 57, 135, 251, 5, 254, 152, 114, 169, 118, 249, 193, 149, 93, 3, 101,
    32, 240, 70, 4, 189, 105, 64, 94, 254, 33, 37, 187, 104, 48, 230, 128, 95, 164, 143, 41, 116,
    177, 5, 141, 110, 25, 3, 229, 78, 96, 89, 18, 42, 99, 192, 55, 61, 200, 50, 139, 190, 232, 141,
    3, 127, 9, 63, 166, 88, 197, 22, 37, 186, 229, 27, 40, 92, 129, 5, 32, 84, 78, 128, 203, 230,
    148, 229, 47, 26, 102, 231, 160, 127, 131, 15, 243, 166, 44, 108, 137, 131, 43, 174, 133, 101,
    4, 22, 29, 161, 66, 2, 46, 240, 33, 229, 186, 234, 48, 115, 240, 47, 123, 31, 83, 6, 197, 222,
    40, 112, 111, 26, 19, 150, 47, 176, 100, 9, 21, 3, 112, 145, 14, 41, 204, 170, 195, 159, 67,
    126, 193, 126, 76, 185, 43, 182, 44, 131, 43, 99, 3, 55, 21, 112, 25, 66, 111, 122, 0, 151,
    240, 144, 98, 47, 26, 212, 57, 245, 47, 243, 49, 133, 91, 108, 1, 130, 43, 39, 3, 101, 35, 113,
    249, 132, 202, 44, 224, 27, 28, 228, 77, 181, 208, 231, 201, 252, 106, 255, 95, 254, 199, 20,
    79, 177, 69, 23, 92, 33, 13, 20, 88, 96, 185, 82, 90, 6, 112, 217, 59, 164, 12, 23, 189, 240,
    56, 204, 127, 211, 126, 154, 229, 23, 91, 178, 193, 21, 195, 64, 145, 4, 22, 134, 210, 242, 1,
    23, 236, 33, 229, 176, 104, 88, 205, 97, 127, 153, 124, 204, 77, 11, 187, 76, 112, 111, 122, 6,
    148, 80, 96, 177, 9, 21, 21, 242, 50, 135, 20, 222, 162, 1, 156, 195, 253, 114, 254, 152, 178,
    169, 118, 249, 193, 149, 89, 3, 55, 16, 240, 77, 69, 80, 73, 32, 47, 255, 144, 226, 93, 52, 8,
    115, 192, 47, 212, 199, 20, 184, 216, 114, 141, 110, 25, 3, 101, 79, 96, 25, 18, 186, 49, 192,
    111, 218, 163, 44, 179, 104, 200, 205, 129, 191, 152, 31, 83, 164, 98, 11, 19, 221, 242, 13,
    20, 172, 192, 114, 32, 84, 86, 128, 203, 228, 148, 229, 47, 122, 177, 227, 160, 255, 166, 248,
    48, 37, 44, 182, 216, 193, 21, 213, 194, 50, 2, 11, 143, 80, 1, 1, 151, 243, 33, 101, 187, 234,
    48, 115, 240, 47, 115, 31, 115, 131, 194, 190, 169, 2, 87, 18, 11, 203, 23, 88, 188, 132, 138,
    0, 184, 80, 135, 20, 100, 213, 225, 207, 33, 191, 220, 126, 76, 217, 43, 182, 12, 131, 187,
    177, 1, 111, 90, 17, 151, 33, 84, 114, 128, 139, 121, 72, 145, 23, 13, 236, 156, 250, 151, 249,
    152, 130, 45, 182, 28, 130, 43, 43, 3, 101, 34, 113, 249, 132, 110, 22, 224, 55, 197, 65, 74,
    180, 232, 115, 103, 126, 117, 255, 47, 255, 99, 138, 166, 216, 194, 11, 174, 128, 6, 202, 89,
    96, 217, 82, 90, 6, 112, 153, 59, 228, 134, 11, 125, 81, 143, 195, 252, 146, 126, 205, 242,
    139, 45, 222, 224, 138, 96, 160, 80, 2, 11, 66, 105, 249, 128, 203, 237, 33, 101, 177, 104, 24,
    205, 97, 255, 77, 62, 204, 155, 182, 180, 203, 4, 87, 114, 6, 138, 41, 176, 200, 132, 10, 11,
    121, 153, 67, 10, 110, 209, 112, 156, 195, 253, 178, 254, 152, 50, 169, 118, 249, 193, 221,
    172, 1, 111, 10, 1, 75, 68, 168, 56, 144, 151, 127, 72, 209, 46, 26, 136, 57, 224, 23, 232, 99,
    202, 185, 216, 178, 141, 110, 25, 3, 101, 78, 224, 13, 9, 122, 83, 3, 92, 210, 83, 150, 89, 52,
    248, 230, 192, 95, 196, 143, 41, 84, 177, 5, 137, 110, 249, 6, 202, 173, 192, 178, 32, 84, 70,
    128, 111, 114, 144, 111, 54, 232, 77, 247, 170, 165, 37, 144, 22, 83, 90, 100, 105, 97, 165,
    133, 35, 45, 56, 105, 57, 74, 55, 235, 146, 110, 166, 45, 45, 51, 242, 55, 23, 121, 41, 228,
    37, 146, 23, 71, 94, 252, 229, 69, 43, 47, 132, 188, 64, 242, 114, 145, 151, 251, 202, 205, 46,
    101, 153, 83, 190, 33, 101, 169, 149, 37, 85, 150, 140, 178, 248, 148, 69, 84, 22, 90, 89, 80,
    117, 193, 168, 203, 173, 122, 179, 160, 46, 35, 246, 19, 234, 39, 91, 93, 186, 234, 18, 168,
    139, 165, 254, 160, 0,
];
