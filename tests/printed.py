"""What two kits of one identity had printed long ago, two of three custodians being needed. It opens nothing."""

from __future__ import annotations

IDENTITY = "AGE-SECRET-KEY-13A7L2MF6DN50PXPQ7V6V8ZAGDL8PQR6VZ5Q55LNX7DNEULAHZM4SPPKXGW"
OURS = (
    (
        "kitchen marathon academic acid alarm paid predator premium purple corner kitchen tofu quarter safari ranked "
        "image medical raisin numerous desire smear drink drove royal agree industry bike detailed pumps actress hand "
        "club friendly"
    ),
    (
        "kitchen marathon academic agency advocate transfer recall enforce camera symbolic wireless music grocery "
        "manual editor duckling ajar segment beyond fake total belong sack element scramble quiet aunt trash patrol "
        "pile diploma trash wealthy"
    ),
    (
        "kitchen marathon academic always argue dining mobile lair evoke empty hanger ajar briefing frozen enemy lobe "
        "dominant squeeze multiple wrist maximum thorn syndrome profile diagnose window cradle mayor muscle anxiety "
        "anatomy recover luck"
    ),
)
THEIRS = (
    (
        "tension vexed academic acid again replace plan class webcam isolate amazing shelter bishop marathon forecast "
        "plastic pacific declare elder revenue demand petition rescue oven oasis duke revenue echo elephant elite "
        "news dive verdict"
    ),
    (
        "tension vexed academic agency answer lunar marvel threaten romantic organize senior premium junior center "
        "industry blessing general inherit biology loan darkness robin mason chew gravity havoc column short antenna "
        "obesity owner deny mule"
    ),
    (
        "tension vexed academic always animal ending tenant plains scout vintage modify home strike fatal alarm smug "
        "imply judicial universe smirk plan extend staff tolerate injury flavor mixed dress include declare building "
        "railroad identify"
    ),
)
