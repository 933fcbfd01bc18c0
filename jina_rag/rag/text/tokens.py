"""Words: how they are written together, and which say nothing by themselves."""

UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0e7f"
"""The characters of scripts without blanks between words, as a class of a regular expression: each is a word here."""

_FUNCTION_WORDS = """
a an the this that these those of in on at to for from by with as into onto about than then there here
and or but so if when while where which who whom whose what why how is are was were be been being am do does did
done has have had having may might can could will would shall should must it its he she they them his her their
we us our you your i me my also just any some very too much many such own please called located named
der die das den dem des ein eine einen einem einer eines und oder aber ist sind wird werden wurde im am
zum zur vom von zu mit für auf an bei nach aus um es er sie wir ihr ich sich auch wie was wer wo wann warum
welche welcher welches
le la les l un une des du de d et ou mais est sont était à au aux en dans par pour avec sur ce cette ces il elle
ils elles on se s qui que qu quoi quel quelle quels quelles où quand comment pourquoi combien
el los las una unos unas y o pero es son era del al con por para su sus lo se qué quién cuál cuándo dónde cómo
cuánto cuántos cuánta cuántas
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
"""Words of English, German, French and Spanish that say nothing by themselves."""
