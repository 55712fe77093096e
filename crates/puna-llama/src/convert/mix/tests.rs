//! The mixes against what llama.cpp is known to write.

use super::*;

fn scout(mix: Mix, role: Role) -> impl Fn(usize) -> DType {
    move |layer| {
        let downs = 2 * layer + usize::from(role == Role::Down);
        let place = Place { role, layer, n_layers: 48, downs, n_experts: 16, group: 5, importance: false };
        mix.dtype(place, 5120)
    }
}

/// The mixes of a Scout, layer by layer.
#[test]
fn scout_has_the_known_mixes() {
    let more = |i: usize| !(6..42).contains(&i) || (i - 6) % 3 == 2;
    for i in 0..48 {
        let if_more = |base| if more(i) { DType::Q6_K } else { base };
        assert_eq!(scout(Mix::Q4_K_M, Role::Value)(i), if_more(DType::Q4_K));
        assert_eq!(scout(Mix::Q4_K_M, Role::ExpertsDown)(i), if_more(DType::Q4_K));
        assert_eq!(scout(Mix::Q5_K_M, Role::Down)(i), if_more(DType::Q5_K));
        assert_eq!(scout(Mix::Q4_K_M, Role::Experts)(i), DType::Q4_K);
        let before = |n, yes, no| if i < n { yes } else { no };
        assert_eq!(scout(Mix::Q4_K_S, Role::Value)(i), before(4, DType::Q5_K, DType::Q4_K));
        assert_eq!(scout(Mix::Q4_K_S, Role::ExpertsDown)(i), before(6, DType::Q5_K, DType::Q4_K));
        assert_eq!(scout(Mix::Q3_K_M, Role::Value)(i), before(2, DType::Q5_K, DType::Q4_K));
        assert_eq!(scout(Mix::Q3_K_M, Role::Down)(i), before(3, DType::Q5_K, DType::Q4_K));
        assert_eq!(scout(Mix::IQ4_XS, Role::Down)(i), before(6, DType::Q5_K, DType::IQ4_XS));
        assert_eq!(scout(Mix::Q2_K, Role::Value)(i), DType::Q4_K);
        assert_eq!(scout(Mix::Q2_K, Role::Down)(i), DType::Q3_K);
        assert_eq!(scout(Mix::Q2_K, Role::AttnOut)(i), DType::Q3_K);
        assert_eq!(scout(Mix::IQ2_XS, Role::ExpertsDown)(i), before(3, DType::Q2_K, DType::IQ2_XS));
        assert_eq!(scout(Mix::IQ2_M, Role::Down)(i), before(3, DType::IQ3_S, DType::IQ2_S));
        assert_eq!(scout(Mix::IQ1_S, Role::AttnOut)(i), DType::IQ2_XXS);
        assert_eq!(scout(Mix::IQ1_M, Role::Value)(i), DType::Q4_K);
        assert_eq!(scout(Mix::IQ3_XXS, Role::Key)(i), DType::IQ2_S);
        assert_eq!(scout(Mix::IQ3_XXS, Role::Down)(i), before(6, DType::Q4_K, DType::Q3_K));
        let ends = |i: usize| !(6..42).contains(&i);
        let iq3_xs = if ends(i) { DType::IQ3_S } else { DType::IQ3_XXS };
        assert_eq!(scout(Mix::IQ3_XS, Role::Experts)(i), iq3_xs);
        assert_eq!(scout(Mix::IQ3_M, Role::ExpertsDown)(i), before(6, DType::Q4_K, DType::IQ3_S));
        assert_eq!(scout(Mix::MXFP4_MOE, Role::Experts)(i), DType::MXFP4);
        assert_eq!(scout(Mix::MXFP4_MOE, Role::Down)(i), DType::Q8_0);
    }
    for (mix, head, embed) in [
        (Mix::IQ1_S, DType::Q5_K, DType::Q2_K),
        (Mix::IQ2_M, DType::Q5_K, DType::IQ3_S),
        (Mix::IQ3_XXS, DType::Q5_K, DType::IQ3_S),
        (Mix::IQ3_M, DType::Q6_K, DType::IQ3_S),
    ] {
        assert_eq!((scout(mix, Role::Head)(0), scout(mix, Role::Embed)(0)), (head, embed));
    }
    for mix in [Mix::Q4_0, Mix::Q2_K, Mix::Q4_K_M, Mix::IQ4_XS] {
        assert_eq!((scout(mix, Role::Head)(0), scout(mix, Role::Embed)(0)), (DType::Q6_K, mix.base()));
    }
    assert_eq!(scout(Mix::Q8_0, Role::Head)(0), DType::Q8_0);
}

/// What llama.cpp 0.3.36's Python package writes of a model of eight layers and eight experts.
#[test]
fn eight_experts_give_attention_more_bits() {
    let of = |mix: Mix, role, layer, n_experts| {
        let place =
            Place { role, layer, n_layers: 8, downs: 2 * layer, n_experts, group: 4, importance: true };
        mix.dtype(place, 256)
    };
    for (mix, key, value, out, down) in [
        (Mix::Q4_0, DType::Q8_0, DType::Q8_0, DType::Q4_0, DType::Q4_0),
        (Mix::Q2_K, DType::Q8_0, DType::Q8_0, DType::Q5_K, DType::Q3_K),
        (Mix::Q2_K_S, DType::Q8_0, DType::Q8_0, DType::Q2_K, DType::Q2_K),
        (Mix::Q3_K_L, DType::Q8_0, DType::Q8_0, DType::Q3_K, DType::Q5_K),
        (Mix::Q5_K_M, DType::Q8_0, DType::Q8_0, DType::Q5_K, DType::Q5_K),
        (Mix::IQ3_M, DType::Q8_0, DType::Q8_0, DType::Q5_K, DType::IQ3_S),
        (Mix::IQ2_XS, DType::Q4_K, DType::Q4_K, DType::Q5_K, DType::IQ2_XS),
        (Mix::TQ1_0, DType::Q8_0, DType::Q8_0, DType::TQ1_0, DType::TQ1_0),
        (Mix::MXFP4_MOE, DType::Q8_0, DType::Q8_0, DType::Q8_0, DType::Q8_0),
    ] {
        let roles = [Role::Key, Role::Value, Role::AttnOut, Role::Down];
        assert_eq!(roles.map(|role| of(mix, role, 2, 8)), [key, value, out, down], "{}", mix.name());
        assert_eq!(of(mix, Role::Query, 2, 8), of(mix, Role::Query, 2, 16));
        assert_eq!(of(mix, Role::Key, 2, 16), of(mix, Role::Query, 2, 16));
    }
    assert_eq!([2, 3].map(|layer| of(Mix::IQ3_M, Role::ExpertsDown, layer, 8)), [DType::IQ3_S, DType::Q4_K]);
    assert_eq!(of(Mix::Q2_K_S, Role::AttnOut, 2, 16), DType::Q2_K);
}

#[test]
fn rows_that_are_no_whole_blocks_fall_back() {
    let place = Place {
        role: Role::Other,
        layer: 0,
        n_layers: 30,
        downs: 0,
        n_experts: 0,
        group: 3,
        importance: false,
    };
    for (mix, n_in, expected) in [
        (Mix::Q4_K_M, 576, DType::Q5_0),
        (Mix::Q5_K_M, 576, DType::Q5_1),
        (Mix::Q6_K, 576, DType::Q8_0),
        (Mix::Q2_K, 576, DType::Q4_0),
        (Mix::Q3_K_M, 576, DType::Q4_0),
        (Mix::IQ4_XS, 576, DType::IQ4_NL),
        (Mix::TQ1_0, 576, DType::Q4_0),
        (Mix::IQ1_M, 576, DType::IQ4_NL),
        (Mix::Q4_K_M, 40, DType::F16),
        (Mix::Q8_0, 40, DType::F16),
        (Mix::BF16, 40, DType::BF16),
    ] {
        assert_eq!(mix.dtype(place, n_in), expected, "{}", mix.name());
    }
    assert_eq!(Mix::Q4_K_M.dtype(Place { role: Role::Head, ..place }, 576), DType::Q8_0);
}

#[test]
fn names_are_found_in_any_case() {
    assert_eq!(Mix::parse("Q4_K_M"), Some(Mix::Q4_K_M));
    assert_eq!(Mix::parse("q4_k_x"), None);
    for name in Mix::names() {
        assert_eq!(Mix::parse(name).unwrap().name(), name);
    }
}
