"""Names of sensors, modalities and networks stand where they belong: in rooms about them, in configurations, in data sheets. Elsewhere a room asks the set, the predictor or the configuration."""
import ast, io, tokenize
from collections import Counter

import pytest

from conftest import ROOT

LIB = ROOT/'irm_nb'
WORDS = 'optical','sar','opt','resnet50','googlenet','both'
WANTED = *WORDS,'6','[:3]'
# What may say which, by module: all of them, or some.
SHEETS = 'sheets','folders','datasets','regions','bands','grids','labels' # data sheets and what they read
ROOMS = {
    **dict.fromkeys(SHEETS, WANTED),
    'scenes': ('optical','sar','opt'), # the sensors, and the names of a pair's two modalities
    'world': WANTED,
    'methods.optical': WANTED,
    'methods.sar': WANTED,
    'models': ('resnet50','googlenet'), # the backbones
    'transfer': ('resnet50','googlenet'), # `Config`, below
}
ONLY_IN = {'transfer': ('Config',)} # of which definitions alone
OTHER_MEANING = { # module -> {literal: how often}
    'cli': {'both':1}, # two flags
    'comparisons': {'both':1}, # two axes of a plot
    'plots': {'both':2}, # two quantities
    'methods.fusion': {'both':1}, # in the names of seeds, since version 0.1
    'cards': {'[:3]':1}, # the columns that a row of scores must have
    'raster': {'[:3]':1}, # the colours of a palette, without its opacity
}
NOT_YET = { # the same, of rooms that are still to be cleaned: a number here only falls
    'describe': {'optical':1, '[:3]':3},
    'diagrams': {'optical':20},
    'domains': {'opt':1, 'sar':1},
    'experiments': {'opt':1},
    'figures': {'optical':1, 'opt':1},
    'methods.translate': {'optical':1},
    'raster': {'sar':2},
}

def modules(): return {'.'.join(p.relative_to(LIB).with_suffix('').parts): p for p in sorted(LIB.rglob('*.py'))
                       if p.name not in ('__init__.py','_modidx.py') and 'data' not in p.relative_to(LIB).parts}

def docstrings(tree): # (line, column) where one begins
    kinds = ast.Module,ast.ClassDef,ast.FunctionDef
    firsts = (n.body[0] for n in ast.walk(tree) if isinstance(n, kinds) and n.body)
    return {(n.value.lineno, n.value.col_offset) for n in firsts
            if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) and isinstance(n.value.value, str)}

CHANNELS = 'in_channels','out_channels','channels','n_channels','c' # what a number of channels is called

def channel_counts(tree): # (line, column) of the numbers that are counts of channels
    "What is given or compared as one, has a default as one, or is a size of an array along the channels"
    out = []
    for n in ast.walk(tree):
        if isinstance(n, ast.keyword) and n.arg in CHANNELS: out.append(n.value)
        if isinstance(n, ast.arguments):
            named = [*n.posonlyargs, *n.args]
            pairs = [*zip(named[len(named) - len(n.defaults):], n.defaults), *zip(n.kwonlyargs, n.kw_defaults)]
            out += [v for a,v in pairs if a.arg in CHANNELS]
        if isinstance(n, ast.Compare): out += compared(n)
        if isinstance(n, ast.Call): out += given(n)
    return {(n.lineno, n.col_offset) for n in out if isinstance(n, ast.Constant)}

def compared(n): # x.shape[1] == 6, in_channels == 6
    sides = [n.left, *n.comparators]
    about = any(isinstance(m, ast.Name) and m.id in CHANNELS or isinstance(m, ast.Attribute) and m.attr in CHANNELS
                or isinstance(m, ast.Subscript) and ast.unparse(m).endswith('.shape[1]') for m in sides)
    return sides if about else []

MAKERS = dict(new_model=2, Conv2d=0, generator_net=0, patch_discriminator=0, zeros=1, empty=1, rand=1, randn=1) # place of the count

def given(n): # new_model(arch, k, 6), torch.zeros(1, 6, 8, 8), x.view(n, 6, …)
    name = n.func.attr if isinstance(n.func, ast.Attribute) else getattr(n.func, 'id', '')
    at = MAKERS.get(name)
    args = n.args[0].elts if at == 1 and n.args and isinstance(n.args[0], ast.Tuple) else n.args
    return [] if at is None or len(args) <= at or at == 1 and len(args) < 3 else [args[at]]

def found(text): # -> [(literal, line)] without comments and docstrings
    tree = ast.parse(text)
    said,counts = docstrings(tree),channel_counts(tree)
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type not in (tokenize.NL, tokenize.COMMENT)]
    out = []
    for i,t in enumerate(tokens):
        if t.type == tokenize.STRING and t.start not in said and (word := word_of(t.string)) in WORDS: out.append((word, t.start[0]))
        if t.string == '6' and t.start in counts: out.append(('6', t.start[0]))
        if first_three(tokens, i): out.append(('[:3]', t.start[0]))
    return out

def first_three(tokens, i): # of an array; what a call returned is none
    return [k.string for k in tokens[i:i+4]] == ['[',':','3',']'] and tokens[i-1].string != ')'

def word_of(string):
    try: return ast.literal_eval(string)
    except (ValueError, SyntaxError): return None # part of an f-string

def inside(text, line, names): # in one of these definitions?
    return any(n.lineno <= line <= n.end_lineno for n in ast.parse(text).body if getattr(n, 'name', '') in names)

def table(): # module -> Counter of literals
    return {m:Counter(w for w,_ in found(p.read_text(encoding='utf-8'))) for m,p in modules().items()}

def offenders(module): # -> [(literal, line)]
    text = modules()[module].read_text(encoding='utf-8')
    def allowed(word, line):
        return word in ROOMS.get(module, ()) and (module not in ONLY_IN or inside(text, line, ONLY_IN[module]))
    return [(word, line) for word,line in found(text) if not allowed(word, line)]

def as_text(counts): # a markdown table by room
    rows = [f'| {m} | ' + ' | '.join(str(c[w] or '') for w in WANTED) + ' |' for m,c in counts.items() if c]
    return '\n'.join(['| room | ' + ' | '.join(f'`{w}`' for w in WANTED) + ' |', '|---'*(len(WANTED) + 1) + '|', *rows])

@pytest.mark.parametrize('module', modules())
def test_literals_stand_where_they_belong(module):
    here = offenders(module)
    counts = Counter(w for w,_ in here)
    known = Counter(OTHER_MEANING.get(module, {})) + Counter(NOT_YET.get(module, {}))
    too_many = [f'{w} in line {line}' for w,line in here if counts[w] > known[w]]
    assert not too_many, f'{module} says {", ".join(too_many)}: ask the set, the predictor or the configuration'
    assert counts == known, f'{module} has fewer by now: write {dict(counts)} in tests/test_literals.py'

def test_the_lists_are_of_rooms_that_there_are(): assert {*ROOMS, *OTHER_MEANING, *NOT_YET} <= {*modules()}

SAMPLE = '''"optical"
def f(in_channels=6, epochs=6):
    "sar"
    s['opt'] # 'sar'
    if x.shape[1] == 6: return m[:3]
    class C:
        """both"""
        arch = "resnet50"
    print(g()[:3])
    return f"{g('both')} optical", 6, "an optical image", new_model('googlenet', 2, 6), m[:3], torch.zeros(1, 6, 8, 8)
'''

def test_what_is_found():
    assert sorted(found(SAMPLE)) == sorted([('6',2), ('opt',4), ('6',5), ('[:3]',5), ('resnet50',8), ('googlenet',10), ('6',10), ('[:3]',10), ('6',10)])

def test_a_definition_alone_may_say_it():
    text = 'class Config:\n    a = "resnet50"\nb = "resnet50"\n'
    assert [inside(text, line, ('Config',)) for _,line in found(text)] == [True, False]

if __name__ == '__main__':
    print(as_text(table()))
    for m in modules():
        for w,line in offenders(m): print(f'irm_nb/{m.replace(".", "/")}.py:{line}: {w}')
