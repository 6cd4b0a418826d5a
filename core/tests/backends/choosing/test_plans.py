"""Plans: which placements are tried, in which order, and that none exceeds the memory there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelplug.backends.plans import make_plans
from modelplug.backends.resources import automatic_contexts, default_threads
from modelplug.backends.wishes import Demand
from modelplug.formats.memory import memory_need, offloadable_layers
from modelplug.formats.model_info import LayerSizes

if TYPE_CHECKING:
    from modelplug.backends.plans import PlanSet


def a_demand(**changes: Any) -> Demand:
    """A demand that leaves everything to the machine, unless told otherwise."""
    fields: dict[str, Any] = {
        "settings": {},
        "gpu_layers": None,
        "exact_layers": False,
        "context_size": None,
        "threads": None,
        "batch_size": 512,
    }
    return Demand(**{**fields, **changes})


def shape(made: PlanSet) -> list[tuple[str, int]]:
    """Where each plan runs, and with how many layers there."""
    return [(plan.device, plan.gpu_layers) for plan in made.plans]


def test_a_model_that_fits_goes_whole_onto_the_gpu_then_fewer_layers_then_the_cpu(kit: Any) -> None:
    """The order is: all layers, three quarters, half, a quarter, CPU."""
    made = make_plans(kit.model(), kit.report(state="gpu"), a_demand(), kit.system(kit.device()))

    assert shape(made) == [("cuda:0", -1), ("cuda:0", 24), ("cuda:0", 16), ("cuda:0", 8), ("cpu", 0)]
    assert "all 33 layers" in made.reason
    assert "Card 0" in made.reason


def test_a_model_larger_than_the_gpu_goes_there_in_part(kit: Any) -> None:
    """As many layers as fit with the margin are placed on the GPU, and the verdict has the figures."""
    made = make_plans(
        kit.model(), kit.report(state="gpu"), a_demand(), kit.system(kit.device(free=4 * kit.GIB))
    )

    first = made.plans[0]
    assert 0 < first.gpu_layers < 33
    assert f"with {first.gpu_layers} of 33 layers on the GPU" in first.reason
    need = memory_need(kit.model(), context_size=first.context_size, gpu_layers=first.gpu_layers)
    assert need.gpu_high + kit.GIB <= 4 * kit.GIB
    assert shape(made)[-1] == ("cpu", 0)


def test_memory_of_two_gpus_is_not_added_up_and_the_better_one_is_used(kit: Any) -> None:
    """Of two cards of different size the one that takes the whole model is chosen, by itself."""
    machine = kit.system(kit.device(0, free=4 * kit.GIB), kit.device(1, free=10 * kit.GIB))
    made = make_plans(kit.model(), kit.report(state="gpu"), a_demand(), machine)
    assert shape(made)[0] == ("cuda:1", -1)

    both_small = kit.system(kit.device(0, free=3 * kit.GIB), kit.device(1, free=4 * kit.GIB))
    made = make_plans(kit.model(), kit.report(state="gpu"), a_demand(), both_small)
    assert made.plans[0].device == "cuda:1"
    assert made.plans[0].gpu_layers > 0


def test_a_hidden_gpu_and_one_the_engine_can_not_use_are_left_alone(kit: Any) -> None:
    """Only devices that are visible and that the engine named are used."""
    hidden = kit.system(kit.device(0, visible=False))
    other = kit.system(kit.device(5))

    for machine in (hidden, other):
        made = make_plans(kit.model(), kit.report(state="gpu"), a_demand(), machine)
        assert shape(made) == [("cpu", 0)]


def test_a_gpu_that_does_not_say_what_is_free_is_tried_and_followed_by_less(kit: Any) -> None:
    """A driver that answers `[N/A]` leaves trying as the only way, and the reason says so."""
    machine = kit.system(kit.device(total=None, free=None))
    made = make_plans(kit.model(), kit.report(state="gpu"), a_demand(), machine)

    assert shape(made) == [("cuda:0", -1), ("cuda:0", 24), ("cuda:0", 16), ("cuda:0", 8), ("cpu", 0)]
    assert made.plans[0].available is None
    assert "the driver does not say how much of its memory is free" in made.reason


def test_a_device_that_only_the_engine_knows_is_tried(kit: Any) -> None:
    """A Vulkan device has no driver tool to ask, and in a container the tools may be missing."""
    report = kit.report(state="gpu", devices=("vulkan:0",))
    made = make_plans(kit.model(), report, a_demand(), kit.system())

    assert shape(made)[0] == ("vulkan:0", -1)
    assert shape(made)[-1] == ("cpu", 0)
    assert made.plans[0].available is None

    both = kit.report(state="gpu", devices=("vulkan:0", "cuda:0"))
    beside = make_plans(kit.model(), both, a_demand(), kit.system(kit.device(free=3 * kit.GIB)))
    assert {plan.device for plan in beside.plans} == {"cuda:0", "cpu"}


def test_a_gpu_with_known_memory_is_preferred_to_one_without(kit: Any) -> None:
    """Where both would take the whole model, the one whose verdict is sure comes first."""
    machine = kit.system(kit.device(0, total=None, free=None), kit.device(1, free=10 * kit.GIB))

    made = make_plans(kit.model(), kit.report(state="gpu"), a_demand(), machine)

    assert made.plans[0].device == "cuda:1"


def test_the_total_bounds_what_can_be_free(kit: Any) -> None:
    """Where only the total is known, a model larger than that is not placed there whole."""
    machine = kit.system(kit.device(total=2 * kit.GIB, free=None))
    made = make_plans(kit.model(), kit.report(state="gpu"), a_demand(), machine)

    assert all(plan.gpu_layers != -1 for plan in made.plans)


def test_an_engine_that_moves_all_or_nothing_gets_no_part(kit: Any) -> None:
    """With `whole` offload the plans are the whole model on the GPU, or the CPU."""
    whole = kit.report(state="gpu", gpu_offload="whole")
    large, small = kit.system(kit.device(free=10 * kit.GIB)), kit.system(kit.device(free=4 * kit.GIB))

    assert shape(make_plans(kit.model(), whole, a_demand(), large)) == [("cuda:0", -1), ("cpu", 0)]
    assert shape(make_plans(kit.model(), whole, a_demand(), small)) == [("cpu", 0)]


def test_an_engine_that_unpacks_weights_is_judged_by_their_unpacked_size(kit: Any) -> None:
    """7 billion parameters at two bytes are 14 GB, however small the file is."""
    report = kit.report(dequantises=2.0)
    model = kit.model()

    refused = make_plans(model, report, a_demand(), kit.system(available=8 * kit.GIB))
    assert refused.plans == ()
    assert refused.needed is not None
    assert refused.needed > 13 * 10**9

    assert make_plans(model, report, a_demand(), kit.system(available=20 * kit.GIB)).plans


def test_a_model_that_does_not_fit_is_refused_with_figures(kit: Any) -> None:
    """Not even the smallest automatic context makes a model fit that is larger than memory."""
    made = make_plans(kit.model(), kit.report(), a_demand(), kit.system(available=2 * kit.GIB))

    assert made.plans == ()
    assert made.available == 2 * kit.GIB
    assert made.needed is not None
    assert made.needed > 2 * kit.GIB
    assert made.reason.startswith("does not fit: it needs at least ")


def test_force_makes_the_plan_that_does_not_fit_and_says_so(kit: Any) -> None:
    """Whoever insists may try, and the plan still shows what is known."""
    machine = kit.system(available=2 * kit.GIB)
    made = make_plans(kit.model(), kit.report(), a_demand(), machine, force=True)

    (plan,) = made.plans
    assert plan.device == "cpu"
    assert plan.needed is not None
    assert plan.needed > 2 * kit.GIB
    assert "because force was asked for" in plan.reason


def test_an_automatic_context_is_the_models_own_up_to_a_cap(kit: Any) -> None:
    """Nobody asked for 128k tokens of context, so nobody pays for them."""
    assert automatic_contexts(kit.model(context_length=512)) == (512,)
    assert automatic_contexts(kit.model(context_length=4096)) == (4096, 2048)
    assert automatic_contexts(kit.model(context_length=131072)) == (8192, 4096, 2048)
    assert automatic_contexts(kit.model(context_length=None)) == (2048,)


def test_an_automatic_context_shrinks_to_fit(kit: Any) -> None:
    """With little memory a smaller context is chosen, and the reason says that."""
    model = kit.model(context_length=8192)
    tight = memory_need(model, context_size=2048).host_low + kit.MIB

    made = make_plans(model, kit.report(), a_demand(), kit.system(available=tight))

    assert made.plans[0].context_size == 2048
    assert "context 2048 tokens of the 8192 it was trained for, to fit into memory" in made.reason


def test_an_automatic_context_shrinks_to_put_the_whole_model_on_the_gpu(kit: Any) -> None:
    """Half of an automatic context is worth less than the last layers on the GPU."""
    model = kit.model(context_length=8192)
    enough = memory_need(model, context_size=4096, gpu_layers=-1).gpu_high + kit.GIB + kit.MIB

    made = make_plans(model, kit.report(state="gpu"), a_demand(), kit.system(kit.device(free=enough)))

    assert (made.plans[0].gpu_layers, made.plans[0].context_size) == (-1, 4096)


def test_a_context_that_was_asked_for_is_never_lowered(kit: Any) -> None:
    """If it does not fit, that is the answer."""
    model = kit.model(context_length=8192)
    tight = kit.system(available=memory_need(model, context_size=2048).host_low + kit.MIB)

    made = make_plans(model, kit.report(), a_demand(context_size=8192), tight)

    assert made.plans == ()
    assert "8192 tokens" in made.reason


def test_a_context_beyond_the_training_is_kept_and_pointed_out(kit: Any) -> None:
    """It may work with a model made for that; the reason says that it was not trained for it."""
    made = make_plans(kit.model(), kit.report(), a_demand(context_size=6000), kit.system())

    assert made.plans[0].context_size == 6000
    assert "more than the 4096 it was trained for" in made.reason


def test_layers_asked_for_in_this_call_are_kept_exactly_in_the_first_plan(kit: Any) -> None:
    """A number is a demand; fewer come only in the plans that are tried if it fails."""
    demand = a_demand(gpu_layers=20, exact_layers=True, settings={"gpu_layers": 20})
    made = make_plans(kit.model(), kit.report(state="gpu"), demand, kit.system(kit.device()))

    assert shape(made) == [("cuda:0", 20), ("cuda:0", 15), ("cuda:0", 10), ("cuda:0", 5), ("cpu", 0)]
    assert [plan.settings["gpu_layers"] for plan in made.plans] == [20, 15, 10, 5, 0]


def test_more_layers_than_there_are_stay_the_number_that_was_asked_for(kit: Any) -> None:
    """99 means all to everybody; it is passed on as 99, and the fallback starts from what there is."""
    demand = a_demand(gpu_layers=99, exact_layers=True)
    made = make_plans(kit.model(), kit.report(state="gpu"), demand, kit.system(kit.device()))

    assert shape(made) == [("cuda:0", 99), ("cuda:0", 24), ("cuda:0", 16), ("cuda:0", 8), ("cpu", 0)]


def test_layers_asked_for_that_do_not_fit_are_refused_with_what_would_fit(kit: Any) -> None:
    """The GPU was asked for: the CPU is not used instead without a word."""
    demand = a_demand(gpu_layers=-1, exact_layers=True)
    machine = kit.system(kit.device(free=3 * kit.GIB))

    made = make_plans(kit.model(), kit.report(state="gpu"), demand, machine)

    assert made.plans == ()
    assert "all layers on the GPU asked for, which do not fit" in made.reason
    assert "at most " in made.reason

    forced = make_plans(kit.model(), kit.report(state="gpu"), demand, machine, force=True)
    assert shape(forced)[0] == ("cuda:0", -1)


def test_layers_in_the_settings_are_a_limit(kit: Any) -> None:
    """What stands in a file for every model is not a demand for this one."""
    machine = kit.system(kit.device(free=10 * kit.GIB))
    limited = make_plans(kit.model(), kit.report(state="gpu"), a_demand(gpu_layers=10), machine)
    assert shape(limited)[0] == ("cuda:0", 10)

    everything = make_plans(kit.model(), kit.report(state="gpu"), a_demand(gpu_layers=-1), machine)
    assert shape(everything)[0] == ("cuda:0", -1)

    small = kit.system(kit.device(free=3 * kit.GIB))
    fewer = make_plans(kit.model(), kit.report(state="gpu"), a_demand(gpu_layers=-1), small)
    assert 0 < fewer.plans[0].gpu_layers < 33


def test_no_layers_means_the_cpu(kit: Any) -> None:
    """0 layers leaves a GPU alone."""
    for exact in (True, False):
        demand = a_demand(gpu_layers=0, exact_layers=exact)
        made = make_plans(kit.model(), kit.report(state="gpu"), demand, kit.system(kit.device()))
        assert shape(made) == [("cpu", 0)]


def test_a_model_too_large_for_main_memory_may_still_go_onto_the_gpu(kit: Any) -> None:
    """Then there is no CPU plan to fall back to."""
    machine = kit.system(kit.device(free=12 * kit.GIB), available=kit.GIB)
    made = make_plans(kit.model(), kit.report(state="gpu"), a_demand(), machine)

    assert shape(made)[0] == ("cuda:0", -1)
    assert ("cpu", 0) not in shape(made)


def test_fewer_layers_are_tried_only_if_main_memory_takes_the_rest(kit: Any) -> None:
    """What is not on the GPU has to go somewhere."""
    rest = memory_need(kit.model(), context_size=4096, gpu_layers=24).host_low + kit.MIB
    machine = kit.system(kit.device(free=12 * kit.GIB), available=rest)

    made = make_plans(kit.model(), kit.report(state="gpu"), a_demand(context_size=4096), machine)

    assert shape(made) == [("cuda:0", -1), ("cuda:0", 24)]


def test_a_small_context_is_not_the_price_for_the_last_layers(kit: Any) -> None:
    """Below 4096 tokens the context stays as it is, and some layers stay in main memory."""
    model = kit.model(context_length=8192)
    enough = memory_need(model, context_size=2048, gpu_layers=-1).gpu_high + kit.GIB + kit.MIB

    made = make_plans(model, kit.report(state="gpu"), a_demand(), kit.system(kit.device(free=enough)))

    assert made.plans[0].context_size == 8192
    assert 0 < made.plans[0].gpu_layers < 33


def test_unified_memory_is_not_counted_twice(kit: Any) -> None:
    """On a machine whose GPU shares main memory, the whole need has to fit into that."""
    shared = kit.device(id="metal:0", api="metal", unified_memory=True, total=16 * kit.GIB, free=12 * kit.GIB)
    report = kit.report(state="gpu", devices=("metal:0",))

    fits = make_plans(kit.model(), report, a_demand(), kit.system(shared, available=12 * kit.GIB))
    assert shape(fits)[0] == ("metal:0", -1)

    refused = make_plans(kit.model(), report, a_demand(), kit.system(shared, available=3 * kit.GIB))
    assert refused.plans == ()


def test_without_layer_structure_a_model_is_placed_as_a_whole(kit: Any) -> None:
    """Files that do not tell layers apart have nothing between all and none."""
    model = kit.model(layers=1, weights=LayerSizes(other=4 * kit.GIB), heads_kv=())
    model = attrs.evolve(model, layers=None)
    made = make_plans(model, kit.report(state="gpu"), a_demand(), kit.system(kit.device()))

    assert shape(made) == [("cuda:0", -1), ("cpu", 0)]


@pytest.mark.parametrize(("physical", "usable", "expected"), [(4, 8, 4), (8, 2, 2), (None, 6, 6), (0, 0, 1)])
def test_threads_are_the_usable_cores_and_not_their_second_threads(
    kit: Any, physical: int | None, usable: int, expected: int
) -> None:
    """A control group's limit counts, and so does that two threads of a core share its arithmetic."""
    assert default_threads(kit.system(physical=physical, usable=usable)) == expected


def test_the_engines_own_memory_settings_count(kit: Any) -> None:
    """A smaller KV type makes room; the setting has the same name in every plugin that has it."""
    model = kit.model(context_length=8192)
    half = kit.system(available=memory_need(model, context_size=8192, kv_type="q8_0").host_low + kit.MIB)
    asked = {"context_size": 8192}

    assert make_plans(model, kit.report(), a_demand(**asked), half).plans == ()
    assert make_plans(model, kit.report(), a_demand(settings={"kv_type": "q8_0"}, **asked), half).plans


# Properties ----------------------------------------------------------------------------------------------

sizes = st.integers(min_value=0, max_value=24 << 30)
wishes = st.fixed_dictionaries(
    {
        "gpu_layers": st.one_of(st.none(), st.integers(-1, 40)),
        "exact_layers": st.booleans(),
        "context_size": st.one_of(st.none(), st.sampled_from([1, 512, 2048, 4096, 16384])),
        "threads": st.one_of(st.none(), st.integers(1, 64)),
    }
).map(lambda fields: {**fields, "exact_layers": fields["exact_layers"] and fields["gpu_layers"] is not None})


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    wish=wishes,
    available=sizes,
    frees=st.lists(st.one_of(st.none(), sizes), max_size=2),
    offload=st.sampled_from(["layers", "whole", "none"]),
    dequantises=st.sampled_from([None, 2.0, 4.0]),
)
def test_no_plan_exceeds_memory_and_no_wish_is_altered(
    kit: Any,
    data: st.DataObject,
    wish: dict[str, Any],
    available: int,
    frees: list[int | None],
    offload: str,
    dequantises: float | None,
) -> None:
    """Whatever the machine and the wishes: plans fit, wishes hold, and the same question has one answer."""
    model = kit.model(
        layers=data.draw(st.integers(1, 40)),
        layer_bytes=data.draw(st.integers(kit.MIB, 400 * kit.MIB)),
        context_length=data.draw(st.sampled_from([None, 512, 4096, 131072])),
    )
    devices = [kit.device(n, total=free, free=free) for n, free in enumerate(frees)]
    machine = kit.system(*devices, available=available)
    report = kit.report(state="gpu", gpu_offload=offload, dequantises=dequantises)
    demand = a_demand(**wish)

    made = make_plans(model, report, demand, machine)

    assert made == make_plans(model, report, demand, machine)
    if made.plans and demand.exact_layers:
        assert made.plans[0].gpu_layers == demand.gpu_layers
    for plan in made.plans:
        if demand.context_size is not None:
            assert plan.context_size == demand.context_size
        if demand.threads is not None:
            assert plan.threads == demand.threads
        assert plan.gpu_layers >= -1
        assert (plan.device == "cpu") == (plan.gpu_layers == 0)
        if demand.gpu_layers is not None and demand.gpu_layers >= 0 and plan.gpu_layers > 0:
            assert plan.gpu_layers <= demand.gpu_layers
        layers = min(plan.gpu_layers, offloadable_layers(model))
        need = memory_need(
            model,
            context_size=plan.context_size,
            gpu_layers=layers,
            kv_type="f32" if dequantises == 4.0 else "f16",
            dequantised_bytes_per_parameter=dequantises,
        )
        assert need.host_low <= available
        free = next((device.memory_free for device in devices if device.id == plan.device), None)
        if free is not None:
            assert need.gpu_low <= free
        assert plan.needed is not None
        assert plan.available is None or plan.needed <= plan.available
    places = [(plan.device, plan.gpu_layers) for plan in made.plans]
    assert len(places) == len(set(places))
    assert (made.needed is not None) <= (not made.plans)
