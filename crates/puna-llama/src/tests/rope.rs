//! Rotary frequencies against those of transformers 5.23, which computes them with torch in F32.

use crate::config::{RopeConfig, RopeScaling};
use crate::export::rope_divisors;
use crate::rope::inv_freq;
use crate::tests::tiny;
use alloc::vec::Vec;
use puna_core::ops::Pairs;

fn config(theta: f64, scaling: RopeScaling) -> RopeConfig {
    RopeConfig { theta, n_rot: 128, pairs: Pairs::Interleaved, scaling }
}

const fn llama3(factor: f32, low: f32, high: f32) -> RopeScaling {
    RopeScaling::Llama3 { factor, low, high, original: 8192.0 }
}

/// Every value within one unit in the last place for each rounding in which torch and libm may differ.
fn check(rope: &RopeConfig, expected: &[u32; 64]) {
    let found = inv_freq(rope).unwrap();
    assert_eq!(found.len(), 64);
    for (i, (found, &expected)) in found.iter().zip(expected).enumerate() {
        let apart = found.to_bits().abs_diff(expected);
        assert!(apart <= 2, "pair {i}: expected {}, found {found}, {apart} ulp", f32::from_bits(expected));
    }
}

#[test]
fn frequencies_are_those_of_transformers() {
    check(&config(500_000.0, RopeScaling::None), &DEFAULT_500K);
    check(&config(10_000.0, RopeScaling::None), &DEFAULT_10K);
    check(&config(500_000.0, llama3(8.0, 1.0, 4.0)), &LLAMA3_8_1_4);
    check(&config(500_000.0, llama3(16.0, 1.0, 1.0)), &LLAMA3_16_1_1);
    check(&config(10_000.0, RopeScaling::Linear { factor: 4.0 }), &LINEAR_4);
}

#[test]
fn scaling_divides_as_published() {
    let divisors = |scaling| {
        let mut config = tiny::golden();
        config.head_dim = 128;
        config.rope = self::config(500_000.0, scaling);
        rope_divisors(&config).unwrap().unwrap()
    };
    let scout: Vec<f32> = divisors(llama3(16.0, 1.0, 1.0));
    assert!(scout[..=34].iter().all(|&d| d == 1.0) && scout[35..].iter().all(|&d| d == 16.0), "{scout:?}");
    let launch = divisors(llama3(8.0, 1.0, 4.0));
    assert!(launch[..=28].iter().all(|&d| d == 1.0) && launch[35..].iter().all(|&d| d == 8.0), "{launch:?}");
    for (found, expected) in launch[29..=34].iter().zip([1.2075, 1.5534, 2.0263, 2.6945, 3.6843, 5.2573]) {
        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    }
    // A wavelength of exactly the boundary is no 0/0.
    let boundary =
        RopeScaling::Llama3 { factor: 16.0, low: 1.0, high: 1.0, original: core::f32::consts::TAU };
    assert_eq!(divisors(boundary)[0], 1.0);
}

#[test]
fn divisors_from_the_file_divide() {
    let mut divisors = [1.0; 64];
    divisors[35..].fill(16.0);
    let explicit = inv_freq(&config(500_000.0, RopeScaling::Divisors(divisors.to_vec()))).unwrap();
    assert_eq!(explicit, inv_freq(&config(500_000.0, llama3(16.0, 1.0, 1.0))).unwrap());
}

#[rustfmt::skip]
const DEFAULT_500K: [u32; 64] = [
    0x3f80_0000, 0x3f50_8ac1, 0x3f29_e1c6, 0x3f0a_6384, 0x3ee1_77bc, 0x3eb7_ab7d, 0x3e95_9ee3, 0x3e73_c461,
    0x3e46_93b0, 0x3e21_c3a0, 0x3e03_c6a0, 0x3dd6_b19c, 0x3dae_e4ad, 0x3d8e_7898, 0x3d68_1e67, 0x3d3d_1684,
    0x3d1a_08c8, 0x3cfa_f53f, 0x3ccc_6f49, 0x3ca6_8939, 0x3c87_a9c3, 0x3c5d_06ec, 0x3c34_0d6d, 0x3c12_ac7f,
    0x3bee_f74f, 0x3bc2_aa76, 0x3b9e_9402, 0x3b81_2e35, 0x3b52_7720, 0x3b2b_72dc, 0x3b0b_aa41, 0x3ae3_8c10,
    0x3ab9_5d21, 0x3a97_0023, 0x3a76_03ea, 0x3a48_6886, 0x3a23_418d, 0x3a04_fdbf, 0x39d8_ac81, 0x39b0_8199,
    0x398f_c8f8, 0x396a_426f, 0x393e_d4f4, 0x391b_7475, 0x38fd_45c3, 0x38ce_51f5, 0x38a8_126b, 0x3888_ea0f,
    0x385f_10c4, 0x3835_b687, 0x3814_06cb, 0x37f1_2b80, 0x37c4_7610, 0x37a0_0a69, 0x3782_5f34, 0x3754_6808,
    0x372d_07a7, 0x370c_f400, 0x36e5_a54d, 0x36bb_12c7, 0x3698_64a7, 0x3678_48c2, 0x364a_41b0, 0x3624_c2ff,
];
#[rustfmt::skip]
const DEFAULT_10K: [u32; 64] = [
    0x3f80_0000, 0x3f5d_afd7, 0x3f3f_f911, 0x3f26_3de0, 0x3f0f_f59a, 0x3ef9_53cf, 0x3ed7_e89b, 0x3eba_f81b,
    0x3ea1_e89b, 0x3e8c_3504, 0x3e72_d423, 0x3e52_47ed, 0x3e36_1887, 0x3e1d_b040, 0x3e08_8d77, 0x3dec_7fd6,
    0x3dcc_cccd, 0x3db1_5978, 0x3d99_940d, 0x3d84_fe4d, 0x3d66_55c2, 0x3d47_763f, 0x3d2c_ba15, 0x3d15_9348,
    0x3d01_86e3, 0x3ce0_54d2, 0x3cc2_434f, 0x3ca8_398b, 0x3c91_ad39, 0x3c7c_4d33, 0x3c5a_7bf2, 0x3c3d_3311,
    0x3c23_d70a, 0x3c0d_e12d, 0x3bf5_b9b0, 0x3bd4_ca15, 0x3bb8_449c, 0x3b9f_91cc, 0x3b8a_2e77, 0x3b6f_520e,
    0x3b4f_3e38, 0x3b33_770f, 0x3b1b_690d, 0x3b06_946f, 0x3ae9_1528, 0x3ac9_d75c, 0x3aae_c98e, 0x3a97_5c0e,
    0x3a83_126f, 0x3a63_01e2, 0x3a44_948c, 0x3a2a_3b44, 0x3a13_6a16, 0x39ff_4fac, 0x39dd_1725, 0x39bf_74d7,
    0x39a5_cb60, 0x398f_9272, 0x3978_a815, 0x3957_53e4, 0x393a_7753, 0x3921_7916, 0x390b_d472, 0x38f2_2ce2,
];
#[rustfmt::skip]
const LLAMA3_8_1_4: [u32; 64] = [
    0x3f80_0000, 0x3f50_8ac1, 0x3f29_e1c6, 0x3f0a_6384, 0x3ee1_77bc, 0x3eb7_ab7d, 0x3e95_9ee3, 0x3e73_c461,
    0x3e46_93b0, 0x3e21_c3a0, 0x3e03_c6a0, 0x3dd6_b19c, 0x3dae_e4ad, 0x3d8e_7898, 0x3d68_1e67, 0x3d3d_1684,
    0x3d1a_08c8, 0x3cfa_f53f, 0x3ccc_6f49, 0x3ca6_8939, 0x3c87_a9c3, 0x3c5d_06ec, 0x3c34_0d6d, 0x3c12_ac7f,
    0x3bee_f74f, 0x3bc2_aa76, 0x3b9e_9402, 0x3b81_2e35, 0x3b52_7720, 0x3b0d_fd06, 0x3ab3_d11d, 0x3a60_979e,
    0x3a09_95d2, 0x39a3_f108, 0x393b_2dd2, 0x38c8_6886, 0x38a3_418d, 0x3884_fdbf, 0x3858_ac81, 0x3830_8199,
    0x380f_c8f8, 0x37ea_426f, 0x37be_d4f4, 0x379b_7475, 0x377d_45c3, 0x374e_51f5, 0x3728_126b, 0x3708_ea0f,
    0x36df_10c4, 0x36b5_b687, 0x3694_06cb, 0x3671_2b80, 0x3644_7610, 0x3620_0a69, 0x3602_5f34, 0x35d4_6808,
    0x35ad_07a7, 0x358c_f400, 0x3565_a54d, 0x353b_12c7, 0x3518_64a7, 0x34f8_48c2, 0x34ca_41b0, 0x34a4_c2ff,
];
#[rustfmt::skip]
const LLAMA3_16_1_1: [u32; 64] = [
    0x3f80_0000, 0x3f50_8ac1, 0x3f29_e1c6, 0x3f0a_6384, 0x3ee1_77bc, 0x3eb7_ab7d, 0x3e95_9ee3, 0x3e73_c461,
    0x3e46_93b0, 0x3e21_c3a0, 0x3e03_c6a0, 0x3dd6_b19c, 0x3dae_e4ad, 0x3d8e_7898, 0x3d68_1e67, 0x3d3d_1684,
    0x3d1a_08c8, 0x3cfa_f53f, 0x3ccc_6f49, 0x3ca6_8939, 0x3c87_a9c3, 0x3c5d_06ec, 0x3c34_0d6d, 0x3c12_ac7f,
    0x3bee_f74f, 0x3bc2_aa76, 0x3b9e_9402, 0x3b81_2e35, 0x3b52_7720, 0x3b2b_72dc, 0x3b0b_aa41, 0x3ae3_8c10,
    0x3ab9_5d21, 0x3a97_0023, 0x3a76_03ea, 0x3848_6886, 0x3823_418d, 0x3804_fdbf, 0x37d8_ac81, 0x37b0_8199,
    0x378f_c8f8, 0x376a_426f, 0x373e_d4f4, 0x371b_7475, 0x36fd_45c3, 0x36ce_51f5, 0x36a8_126b, 0x3688_ea0f,
    0x365f_10c4, 0x3635_b687, 0x3614_06cb, 0x35f1_2b80, 0x35c4_7610, 0x35a0_0a69, 0x3582_5f34, 0x3554_6808,
    0x352d_07a7, 0x350c_f400, 0x34e5_a54d, 0x34bb_12c7, 0x3498_64a7, 0x3478_48c2, 0x344a_41b0, 0x3424_c2ff,
];
#[rustfmt::skip]
const LINEAR_4: [u32; 64] = [
    0x3e80_0000, 0x3e5d_afd7, 0x3e3f_f911, 0x3e26_3de0, 0x3e0f_f59a, 0x3df9_53cf, 0x3dd7_e89b, 0x3dba_f81b,
    0x3da1_e89b, 0x3d8c_3504, 0x3d72_d423, 0x3d52_47ed, 0x3d36_1887, 0x3d1d_b040, 0x3d08_8d77, 0x3cec_7fd6,
    0x3ccc_cccd, 0x3cb1_5978, 0x3c99_940d, 0x3c84_fe4d, 0x3c66_55c2, 0x3c47_763f, 0x3c2c_ba15, 0x3c15_9348,
    0x3c01_86e3, 0x3be0_54d2, 0x3bc2_434f, 0x3ba8_398b, 0x3b91_ad39, 0x3b7c_4d33, 0x3b5a_7bf2, 0x3b3d_3311,
    0x3b23_d70a, 0x3b0d_e12d, 0x3af5_b9b0, 0x3ad4_ca15, 0x3ab8_449c, 0x3a9f_91cc, 0x3a8a_2e77, 0x3a6f_520e,
    0x3a4f_3e38, 0x3a33_770f, 0x3a1b_690d, 0x3a06_946f, 0x39e9_1528, 0x39c9_d75c, 0x39ae_c98e, 0x3997_5c0e,
    0x3983_126f, 0x3963_01e2, 0x3944_948c, 0x392a_3b44, 0x3913_6a16, 0x38ff_4fac, 0x38dd_1725, 0x38bf_74d7,
    0x38a5_cb60, 0x388f_9272, 0x3878_a815, 0x3857_53e4, 0x383a_7753, 0x3821_7916, 0x380b_d472, 0x37f2_2ce2,
];
