//! Hashing and measuring names sixteen bytes at a time, and comparing hash values, by the vector instructions that every x86-64
//! has (SSE2).

use core::arch::x86_64::{
    __m128i, _mm_add_epi64, _mm_and_si128, _mm_castsi128_ps, _mm_cmpeq_epi8, _mm_cmpeq_epi32,
    _mm_cvtsi128_si32, _mm_madd_epi16, _mm_movemask_epi8, _mm_movemask_ps, _mm_mul_epu32, _mm_or_si128,
    _mm_packs_epi32, _mm_set_epi64x, _mm_set1_epi32, _mm_setr_epi32, _mm_setzero_si128, _mm_shuffle_epi32,
    _mm_slli_epi32, _mm_srli_epi64, _mm_unpackhi_epi8, _mm_unpacklo_epi8,
};

use super::hash::POWERS;

/// Sixteen bytes of a name.
#[derive(Clone, Copy)]
pub(super) struct Sixteen(__m128i);

impl Sixteen {
    /// How many bytes that is.
    pub(super) const LENGTH: usize = 16;

    #[inline]
    pub(super) fn new(bytes: &[u8; Self::LENGTH]) -> Self {
        let bytes = u128::from_le_bytes(*bytes);
        // SAFETY: every x86-64 has SSE2.
        Self(unsafe { _mm_set_epi64x((bytes >> u64::BITS) as i64, bytes as i64) })
    }

    /// Which byte is the first that is zero.
    #[inline]
    pub(super) fn first_zero(self) -> Option<usize> {
        // SAFETY: every x86-64 has SSE2.
        let zeros = unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(self.0, _mm_setzero_si128())) };
        (zeros != 0).then(|| zeros.trailing_zeros() as usize % Self::LENGTH)
    }

    /// The first `count` bytes, and zeros.
    #[inline]
    pub(super) fn first(self, count: usize) -> Self {
        const MASKS: [u8; 2 * Sixteen::LENGTH] = {
            let mut masks = [0; 2 * Sixteen::LENGTH];
            let mut place = 0;
            while place < Sixteen::LENGTH {
                masks[place] = 0xff;
                place += 1;
            }
            masks
        };
        let mask = MASKS[Self::LENGTH - count % Self::LENGTH..].first_chunk();
        let mask = Self::new(mask.unwrap_or(&[0; Self::LENGTH]));
        // SAFETY: every x86-64 has SSE2.
        Self(unsafe { _mm_and_si128(self.0, mask.0) })
    }

    /// The polynomial in 33 whose coefficients they are, the last byte the constant one: neighbours are joined to pairs, pairs to
    /// fours, those to one.
    #[inline]
    pub(super) fn polynomial(self) -> u32 {
        const PAIR: i32 = 1 << 16 | POWERS[1] as i32;
        const FOUR: i32 = 1 << 16 | POWERS[2] as i32;
        // SAFETY: every x86-64 has SSE2.
        unsafe {
            let zero = _mm_setzero_si128();
            let low = _mm_madd_epi16(_mm_unpacklo_epi8(self.0, zero), _mm_set1_epi32(PAIR));
            let high = _mm_madd_epi16(_mm_unpackhi_epi8(self.0, zero), _mm_set1_epi32(PAIR));
            let fours = _mm_madd_epi16(_mm_packs_epi32(low, high), _mm_set1_epi32(FOUR));
            let even = _mm_mul_epu32(fours, _mm_set_epi64x(i64::from(POWERS[4]), i64::from(POWERS[12])));
            let odd = _mm_mul_epu32(_mm_srli_epi64::<32>(fours), _mm_set_epi64x(1, i64::from(POWERS[8])));
            let halves = _mm_add_epi64(even, odd);
            let sum = _mm_add_epi64(halves, _mm_shuffle_epi32::<0b1110>(halves));
            _mm_cvtsi128_si32(sum) as u32
        }
    }
}

/// Four entries of a chain in a `DT_GNU_HASH` table: hash values, whose lowest bit tells where the chain ends.
#[derive(Clone, Copy)]
pub(super) struct Hashes(__m128i);

impl Hashes {
    #[inline]
    pub(super) fn new(entries: &[u32; 4]) -> Self {
        let [first, second, third, fourth] = entries.map(u32::cast_signed);
        // SAFETY: every x86-64 has SSE2.
        Self(unsafe { _mm_setr_epi32(first, second, third, fourth) })
    }

    /// Which of them, up to the end of the chain, are `wanted` but for the lowest bit: a bit for each. And whether the chain ends here.
    #[inline]
    pub(super) fn alike(self, wanted: u32) -> (u32, bool) {
        // SAFETY: every x86-64 has SSE2.
        let (alike, ends) = unsafe {
            let one = _mm_set1_epi32(1);
            let wanted = _mm_set1_epi32((wanted | 1).cast_signed());
            let alike = _mm_cmpeq_epi32(_mm_or_si128(self.0, one), wanted);
            let ends = _mm_slli_epi32::<31>(self.0);
            (_mm_movemask_ps(_mm_castsi128_ps(alike)), _mm_movemask_ps(_mm_castsi128_ps(ends)))
        };
        let (alike, ends) = (alike.cast_unsigned(), ends.cast_unsigned());
        // The lowest bit that is set, and all below it.
        (alike & (ends ^ ends.wrapping_sub(1)), ends != 0)
    }
}
