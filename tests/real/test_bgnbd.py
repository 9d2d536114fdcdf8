"""BG/NBD on CDNOW: the numbers of Fader, Hardie & Lee (2005)."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pandas as pd
import pytest

from uplift.learners import BGNBD, histories_from_orders

# Which customers the paper's one-in-ten sample took: steps from one customer number to the next, as bytes. There is no
# rule that gives them. Their purchases are read from the data.
SAMPLE = (
    "c-kG7*>c1>4nvEJR*KYScapkys^<T{a?taXl-;%@-~hCS{HNReBcjb`Qta-DbMy49$+tF%_t|Rn-"
    "(ZgzOL@z`g=e!n*4mfUIko&Aere|u>6oqg!w=1IE|<cAx0HBeQzxHNwajF_%puNYN~*rMtQ39dqB7aAxN0jkGb!!f%FNj$u{>=rvFz7{!rB@$a"
    "{MjPLo*fObmqO}N@7~<9-"
    "irMB>LsmslIhe=P0oVr)asPte$;7&st+Wwd$*kebLFi);(#Bk^=8ODw0xREWC`nX#VJ>RE>h4t53d0gR)v3FOMOkyK-"
    "548fmNLF>cya!gwD1msWiCxO7cBY0Q_WHHu?BrK2^@a@~@XR@*o6xXJcsEvC2RdRI%@us69=+c<69XIHH=5^k)6!^QUeBT{)t<Pi*6I<xEDI$("
    "z+&&;EhMu!sg{3H&TjZ1km@4R$CONFws-dPiSPNnB~cdoB)#li4nO5P>g56iE-"
    "t;L*)lR)_?9C1Ua^m#^$+iRC5r9w}8)|oqGFJM6R==p<FYnGlyDaxxvZ&7FZq_$#P!@Z&Zyo(>s*7N+ykzL-gdgi6#(%(<xTDj(-"
    "S<lzhF@3oVcv*Xqe{*d-"
    "RZAu;VT=<GQd#<1sgcI9aHzRf>$hTM`@+f=nVZbl@JzkMX}=4%erv2Z22n0?KegTcA`@ag2y9>(4l_N2ZYyd2+egK+hgY7X%tz@brZK~nQl^*D"
    "(iBTO!EsBLp$)t!@6^(Y_Q?Qas{bbU4_R2&)Hi?u;CzqiFFk8d86UA#z^jf-"
    "ZKhUhO;X6xEIGj3TR<NooO=hO*=U-|Kn!8bxB|q*lLyK1eKwc;136P`d9<Bv1C(9r-hSq|jz2nL^H5rrd_3y14qjn{;r(8pzXOkwI-"
    "NT_$ttPj!Z}YXmia`LTo({32as%?jk7p>?UsoXrFElpq11-PzYp~BpN~Xs>y!O=r<@&aMCZ^Rx*^tKd+?kw@zEqLd{1ER)mywi_-qef0};VC?8"
    "&$t+0Ia{C3yWNAVZoA?%(9-"
    "F0Lu10N_+>Zz;#oUMYU`K`%6gcW`Ya1e9y*ip&yr(FP=KI2VmO*9G4V#~5BF9^y59#1xt(h#iY<;8$15U9KXCcSpXL#o%eLXjQ0d?ow^hLojiI"
    "x&^LsP}%R9?u0FBm5U3dBrsizrgkc4GWwFWyTP?FKU>Hk^^{hwrSr>vHgF?PbG^kz6x&p7GKG8wy8Vy4iT|K&QPY#yzJ1!$^alhHJTMlR%Sby)"
    "6s_Z%pd0+qJ8KWSt?e^LK|}T=d`;wCc++4F`gRD?ej-"
    "{;k<ozxOxJ_vJJw8T&fToEVQu7gc95g3M<}OQc}3Q$!Xx>Fs4t=Ob}8Ba=0y&@_VmEdwU8F{b-"
    "K2`Em!KfXsltDN`pRkaxb4+<e!;!5{3)*SrGcr_FNegXhIRo5~F~#g-e3LfgSX-v8}j!pmPMnX@H<-ego65)(k(kdPPvrDtI*pCx_Snv-"
    "*vttEM9#a5I~4nQE)mfd;Gy;p8uwK)h8st<SM#!_{xfekLaH!jL)=KHM;C!96S2(PJS}=1}Xm0tOe+j@~d2D6t|Se$tNGgq!<YS?BfQ$VP9g+1"
    "QwpjT`TRIl&i1)IqPw7=9qQbW9Gc6ez8cCZlvv{slw1VC<nP11)zPg9QujzBD5;`}r}!7lq4L056r@16j}f0HPK5+X40?A8A~wE^oDK`i`h)Io"
    "b)Od3fNHp<~NPK%fI`Pb59?O+tk3i8I$X5WTkP$cM)li7K)Gyysq`6^wRN&fTU4_N7Y0aQHaJXrL=x3qB>Zu)a)4_h5)MP#Qi?LZ|nv5V;{43m"
    "+@!C!i|q{{s?XToM"
)
WEEKS_39 = "1997-09-30"


@pytest.fixture(scope="module")
def purchases(real_data) -> pd.DataFrame:
    path = real_data / "cdnow" / "CDNOW_master.txt"
    table = pd.read_csv(path, sep=r"\s+", header=0, names=["customer", "date", "number", "value"], dtype=str)
    return table.assign(customer=table["customer"].astype(int), date=pd.to_datetime(table["date"], format="%Y%m%d"))


@pytest.fixture(scope="module")
def sample(purchases) -> pd.DataFrame:
    steps = np.frombuffer(zlib.decompress(base64.b85decode("".join(SAMPLE))), dtype=np.uint8)
    return purchases[purchases["customer"].isin(np.cumsum(steps, dtype=int))]


@pytest.fixture(scope="module")
def histories(sample) -> pd.DataFrame:
    return histories_from_orders(sample, member="customer", at="date", until=WEEKS_39)


@pytest.fixture(scope="module")
def model(histories) -> BGNBD:
    return BGNBD(horizon=39).fit(histories)


def test_the_published_parameters(model, histories, proof):
    assert len(histories) == 2357
    assert histories["frequency"].sum() == 2457
    found = [round(value, 3) for value in (model.r_, model.alpha_, model.a_, model.b_)]
    assert proof(
        "churn/bgnbd", "r, α, a, b on CDNOW's sample of 2,357 customers", method="BG/NBD, maximum likelihood",
        target=".243, 4.414, .793, 2.426", figure=", ".join(f"{value:.3f}" for value in found),
        holds=found == [0.243, 4.414, 0.793, 2.426],
    )  # fmt: skip
    assert model.log_likelihood_ == pytest.approx(-9582.4, abs=0.05)


def test_repeat_purchases_of_the_following_39_weeks(model, histories, sample):
    after = sample[sample["date"] > WEEKS_39].drop_duplicates(["customer", "date"]).groupby("customer").size()
    actual = after.reindex(histories.index, fill_value=0)
    expected = model.expected_purchases(39, histories)
    assert expected.sum() == pytest.approx(actual.sum(), rel=0.15)  # the paper, too, finds it somewhat low
    for group in (0, 1, 2, 3):
        rows = histories["frequency"] == group
        assert expected[rows].mean() == pytest.approx(actual[rows].mean(), abs=0.4)


def test_probability_of_silence_is_calibrated(model, histories, sample):
    later = set(sample.loc[sample["date"] > WEEKS_39, "customer"])
    silent = ~histories.index.isin(later)
    p = model.predict_proba(histories)[:, 1]
    for part in np.array_split(np.argsort(p, kind="stable"), 5):
        assert p[part].mean() == pytest.approx(silent[part].mean(), abs=0.11)


def test_the_whole_cohort_is_near_its_sample(purchases):
    everyone = BGNBD().fit(histories_from_orders(purchases, member="customer", at="date", until=WEEKS_39))
    assert everyone.r_ == pytest.approx(0.243, rel=0.1)
    assert everyone.a_ / (everyone.a_ + everyone.b_) == pytest.approx(0.793 / 3.219, rel=0.1)
