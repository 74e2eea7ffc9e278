"""`recsys-assets retire`: only a target that is configured no more, which serves until then."""

import dagster as dg
import pytest
from click.testing import CliRunner

from recsys_assets.cli.change import run_retire
from recsys_assets.errors import RefusedError
from recsys_assets_tests.small_shop import CART, FIRST, HOME, day_lines, open_shop

QUICK = '[artifacts]\nwindow_days = 1\nkinds = ["popularity"]\n'


def call(shop, *options):
    named = ["--config", str(shop.folder / "recsys.toml"), "--tenant", "shop", "--surface", "cart"]
    return CliRunner().invoke(run_retire, [*named, "--reason", "closed", *options], standalone_mode=False)


@pytest.mark.slow
def test_f47_a_removed_target_serves_until_it_is_retired_and_the_others_stay(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        shop = open_shop(tmp_path, instance)
        shop.configure(QUICK)
        shop.write(FIRST, day_lines(FIRST))
        shop.build(FIRST)
        assert isinstance(call(shop).exception, RefusedError), "it is configured"
        shop.configure(QUICK, targets='[[targets]]\ntenant = "shop"\nsurface = "home"\n')
        assert shop.live(CART) is not None
        assert call(shop, "--dry-run").return_value == 0
        assert shop.live(CART) is not None
        retired = call(shop)
        assert retired.return_value == 0
        assert "shop/cart: retired" in retired.output
        assert (shop.live(CART), shop.live(HOME) is not None) == (None, True)
