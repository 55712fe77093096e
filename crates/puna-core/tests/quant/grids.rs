//! The IQ codebooks against the value sums and SHA-256 digests of the reference tables.

use puna_core::quant::codebook;

#[test]
fn codebooks_are_whole() {
    check(&codebook::IQ2_XXS, 38611, "05826b5d3e472a3a78f196be62ac78acf81df0f909626e12ab9fa2a5d490dd54");
    check(&codebook::IQ2_XS, 81582, "06e47aaca60b4dc1d9b5a3f34540437058a6b142b4d7a59d5ded769b4d1bf1de");
    check(&codebook::IQ2_S, 167_589, "e1aa1473412b0552c2174c30ef22ab4073f6a181b85a17056e8249bd2932fd88");
    check(&codebook::IQ3_XXS, 25592, "46e35f5a997efdee6c99ce57854c8a0d4f0ff8ca57e5e8a60c0793ea580acf5d");
    check(&codebook::IQ3_S, 12748, "bd1af4945a1717c65610b0284e4628b9a1ba3b306fae3a06f6e5f597356e349f");
    check(&codebook::IQ1, -15, "07540ffc1aeaf6ad4d97e96b0fcc765aae39671d4ae4a27bbd0e796fde167c6a");
}

#[test]
fn eighth_sign_makes_the_count_even() {
    for bits in 0..128 {
        let signs = codebook::even_signs(bits);
        assert_eq!(u32::from(signs & 0x7F), bits);
        assert_eq!(signs.count_ones() % 2, 0);
    }
}

fn check<const L: usize>(grid: &[[i8; L]], sum: i32, digest: &str) {
    let levels = grid.as_flattened();
    assert_eq!(levels.iter().map(|v| i32::from(*v)).sum::<i32>(), sum);
    assert_eq!(sha256(&levels.iter().map(|v| *v as u8).collect::<Vec<_>>()), digest);
}

/// SHA-256 (FIPS 180-4) in hexadecimal.
fn sha256(data: &[u8]) -> String {
    // Fractional bits of the square roots of the first 8, and cube roots of the first 64 primes.
    let primes: Vec<f64> = (2u32..312).filter(|n| (2..*n).all(|d| n % d != 0)).map(f64::from).collect();
    let fraction = |root: f64| (root.fract() * 4_294_967_296.0) as u32;
    let mut state: [u32; 8] = core::array::from_fn(|i| fraction(primes[i].sqrt()));
    let constants: [u32; 64] = core::array::from_fn(|i| fraction(primes[i].cbrt()));

    let mut message = data.to_vec();
    message.push(0x80);
    message.resize((message.len() + 8).next_multiple_of(64) - 8, 0);
    message.extend((8 * data.len() as u64).to_be_bytes());
    for block in message.as_chunks::<64>().0 {
        let mut w: Vec<u32> = block.as_chunks().0.iter().map(|b| u32::from_be_bytes(*b)).collect();
        for i in 16..64 {
            let (a, b) = (w[i - 15], w[i - 2]);
            let a = a.rotate_right(7) ^ a.rotate_right(18) ^ a >> 3;
            let b = b.rotate_right(17) ^ b.rotate_right(19) ^ b >> 10;
            w.push(w[i - 16].wrapping_add(a).wrapping_add(w[i - 7]).wrapping_add(b));
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for i in 0..64 {
            let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let t1 = h.wrapping_add(s1).wrapping_add(e & f ^ !e & g);
            let t1 = t1.wrapping_add(constants[i]).wrapping_add(w[i]);
            let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let t2 = s0.wrapping_add(a & b ^ a & c ^ b & c);
            (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
        }
        for (s, v) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *s = s.wrapping_add(v);
        }
    }
    state.iter().map(|s| format!("{s:08x}")).collect()
}
