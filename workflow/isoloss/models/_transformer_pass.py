"""Loss and gradient of a transformer by hand: no graph, and no memory asked for at every step.

Operations of models of this size take microseconds. Autograd records each of them, copies heads
apart and together, and asks for all memory anew; that is half of a step's time.

Names: `d_x` is the gradient of the loss with respect to `x`, and `x_t` is `x` transposed. Rows of a
matrix are tokens, so that behind y = x W' come d_x = d_y W and d_W = d_y' x. The windows of a batch
and their tokens are one dimension, n, but in attention, where a token depends on others.
"""

from __future__ import annotations

import torch

EPSILON = 1e-5  # of layer norms
_FOR_INPUT = (True, False, False)  # of the gradients of a layer norm, which has no gains here


class Pass:
    """Forward and backward pass over batches of one shape, in memory of their own.

    Args:
        module: the model, with `tokens` and `blocks`.
        turns: unit complex numbers by which pairs of coordinates of queries and keys are turned,
            (at least context, width of a head / 2).
        shape: windows of a batch, and tokens of each (the context).
    """

    def __init__(self, module: torch.nn.Module, turns: torch.Tensor, shape: tuple[int, int]):
        self._addresses = _addresses(module)
        vocabulary, d_model = module.tokens.shape
        shared = _Shared(turns, shape, module.tokens)
        self.embedding, self.norm = _Matrix(module.tokens), _Norm(d_model)
        self.blocks = [_Block(block, shared) for block in module.blocks]
        self.logits, self.less = shared.new(shared.n, vocabulary), shared.new(shared.n, 1)
        self.logits_t, self.d_normed = self.logits.t(), shared.d_normed

    def fits(self, module: torch.nn.Module) -> bool:
        """Whether the parameters and gradients are still where they were at the start."""
        return self._addresses == _addresses(module)

    def learn(self, inputs: torch.Tensor, targets: torch.Tensor, share: float) -> torch.Tensor:
        """Mean cross-entropy; `share` times its gradient is added to the parameters' `.grad`.

        Args:
            inputs: tokens, int64 of the shape of the pass.
            targets: the token behind each, int64 (n,).
            share: what the gradient is multiplied by.
        """
        total, right = self.forward(inputs, targets)
        self.backward(inputs, targets, share)
        return (total.sum() - right.sum()) / len(targets)

    def forward(
        self, inputs: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Two parts of every token's loss, (n, 1), which is their difference.

        They are log sum exp(logits) and logits[target], the highest of the logits taken off both.
        """
        x = self.embedding.weight.index_select(0, inputs.reshape(-1))
        for block in self.blocks:
            x = block.forward(x)
        self.x, self.y = x, self.norm.forward(x)
        logits = torch.mm(self.y, self.embedding.weight_t, out=self.logits)
        logits.sub_(logits.amax(1, keepdim=True))
        right = torch.gather(logits, 1, targets.unsqueeze(1))
        self.total = logits.exp_().sum(1, keepdim=True)
        return self.total.log(), right

    def backward(self, inputs: torch.Tensor, targets: torch.Tensor, share: float) -> None:
        """Add `share` times the gradient of the mean loss behind `forward`, which it ends."""
        embedding, logits, n = self.embedding, self.logits, len(targets)
        # d_logits = (softmax(logits) - 1 at the target) share / n
        logits.mul_(self.total.reciprocal_().mul_(share / n))
        logits.scatter_add_(1, targets.unsqueeze(1), self.less.fill_(-share / n))
        embedding.grad.addmm_(self.logits_t, self.y)
        d_y = torch.mm(logits, embedding.weight, out=self.d_normed)
        d_x = self.norm.backward(d_y, self.x)
        for block in reversed(self.blocks):
            d_x = block.backward(d_x)
        embedding.grad.index_add_(0, inputs.reshape(-1), d_x)


def _addresses(module: torch.nn.Module) -> list[int]:
    """Of every parameter and its gradient, which is made if there is none."""
    addresses = []
    for parameter in module.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        addresses += [parameter.data_ptr(), parameter.grad.data_ptr()]
    return addresses


class _Matrix:
    """A weight and its gradient, both also transposed."""

    def __init__(self, parameter: torch.nn.Parameter):
        self.weight, self.grad = parameter.detach(), parameter.grad
        self.weight_t, self.grad_t = self.weight.t(), self.grad.t()


class _Norm:
    """A layer norm without gains, and what its backward pass needs of the forward pass."""

    def __init__(self, d_model: int):
        self.shape = (d_model,)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, self.mean, self.scale = torch.native_layer_norm(x, self.shape, None, None, EPSILON)
        return y

    def backward(self, d_y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.aten.native_layer_norm_backward(
            d_y, x, self.shape, self.mean, self.scale, None, None, _FOR_INPUT
        )[0]


class _Shared:
    """Constants of all blocks, and memory that one block after the other uses.

    Args:
        turns, shape: see `Pass`.
        like: a tensor of the parameters' type and device, as wide as the residual stream.
    """

    def __init__(self, turns: torch.Tensor, shape: tuple[int, int], like: torch.Tensor):
        (batch, context), width, d_model = shape, 2 * turns.shape[1], like.shape[1]
        self.new, self.n, self.d_model = like.new_empty, batch * context, d_model
        self.n_heads = d_model // width
        self.windows = (self.n_heads * batch, context, width)
        self.d_normed, self.squared = self.new(self.n, d_model), self.new(self.n, 4 * d_model)
        self.squared_t = self.squared.t()
        self.scores, self.d_scores = self.new(2, self.n_heads * batch, context, context)
        self.d_scores_t = self.d_scores.mT
        self.d_qkv, self.by_part = _Triple(self), self.new(3 * self.n_heads, self.n, d_model)
        self.d_heads = self.new(self.n_heads, self.n, width)
        self.d_mixed = self.d_heads.view(self.windows)
        self.mask = self.new(context, context).fill_(-torch.inf).triu_(1)  # what comes later
        turns = turns[:context].to(like.device, like.dtype.to_complex())
        # the scores are divided by the root of the width: queries are, as they are turned
        self.turns = torch.stack([turns * width**-0.5, turns]).unsqueeze(1)
        self.turns_back = self.turns.conj().resolve_conj()


class _Triple:
    """Queries, keys and values: one matrix a head, and one a head and window."""

    def __init__(self, shared: _Shared):
        n_heads, (_, context, width) = shared.n_heads, shared.windows
        self.all = shared.new(3 * n_heads, shared.n, width)
        self.all_t = self.all.mT
        self.q, self.k, self.v = self.all.view(3, *shared.windows)
        self.k_t, self.v_t = self.k.mT, self.v.mT
        pairs = self.all[: 2 * n_heads].view(2, -1, context, width // 2, 2)
        self.q_and_k = torch.view_as_complex(pairs)


class _Block:
    """Attention and feed-forward of a block, each added to the residual stream.

    A head has matrices of its own, `read` (3 * heads, width, d_model) for queries, keys and values
    and `attend` (heads, width, d_model), so that no head is copied apart.
    """

    def __init__(self, block: torch.nn.Module, shared: _Shared):
        d_model, n_heads, width = shared.d_model, shared.n_heads, shared.windows[-1]
        self.shared, new, n = shared, shared.new, shared.n
        self.read, self.d_read = (
            x.view(3 * n_heads, width, d_model) for x in (block.read.detach(), block.read.grad)
        )
        self.attend, self.d_attend = (
            x.view(d_model, n_heads, width).permute(1, 2, 0)
            for x in (block.attend.detach(), block.attend.grad)
        )
        self.read_t, self.attend_t = self.read.mT, self.attend.mT
        self.widen, self.narrow = _Matrix(block.widen), _Matrix(block.narrow)
        self.norm, self.norm_middle = _Norm(d_model), _Norm(d_model)
        self.qkv, self.weights = _Triple(shared), torch.empty_like(shared.scores)
        self.weights_t = self.weights.mT
        self.heads = new(n_heads, n, width)
        self.heads_t, self.mixed = self.heads.mT, self.heads.view(shared.windows)
        self.middle, self.last, self.wide = new(n, d_model), new(n, d_model), new(n, 4 * d_model)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What the residual stream is behind the block, from what it is before."""
        shared, qkv = self.shared, self.qkv
        self.x, self.y = x, self.norm.forward(x).expand(len(self.read), -1, -1)
        torch.bmm(self.y, self.read_t, out=qkv.all)
        qkv.q_and_k.mul_(shared.turns)
        torch.baddbmm(shared.mask, qkv.q, qkv.k_t, out=shared.scores)
        torch.softmax(shared.scores, -1, out=self.weights)
        torch.bmm(self.weights, qkv.v, out=self.mixed)
        torch.addbmm(x, self.heads, self.attend, out=self.middle)
        self.z = self.norm_middle.forward(self.middle)
        torch.mm(self.z, self.widen.weight_t, out=self.wide).clamp_min_(0)
        squared = torch.mul(self.wide, self.wide, out=shared.squared)
        return torch.addmm(self.middle, squared, self.narrow.weight_t, out=self.last)

    def backward(self, d_x: torch.Tensor) -> torch.Tensor:
        """The gradient before the block from that behind it; the weights' is added to theirs."""
        shared, wide = self.shared, self.wide
        squared = torch.mul(wide, wide, out=shared.squared)
        self.narrow.grad_t.addmm_(shared.squared_t, d_x)
        # d relu(w)^2 = 2 relu(w) d w
        torch.addmm(squared, d_x, self.narrow.weight, beta=0, alpha=2, out=squared).mul_(wide)
        self.widen.grad.addmm_(shared.squared_t, self.z)
        d_z = torch.mm(squared, self.widen.weight, out=shared.d_normed)
        d_x = self.norm_middle.backward(d_z, self.middle).add_(d_x)
        d_y = self._through_attention(d_x.expand(shared.n_heads, -1, -1))
        return self.norm.backward(d_y, self.x).add_(d_x)

    def _through_attention(self, d_x: torch.Tensor) -> torch.Tensor:
        shared, qkv, d_qkv = self.shared, self.qkv, self.shared.d_qkv
        self.d_attend.add_(torch.bmm(self.heads_t, d_x))
        torch.bmm(d_x, self.attend_t, out=shared.d_heads)
        torch.bmm(self.weights_t, shared.d_mixed, out=d_qkv.v)
        d_weights = torch.bmm(shared.d_mixed, qkv.v_t, out=shared.scores)
        # d_scores = weights (d_weights - sum over the row of weights d_weights)
        torch._softmax_backward_data(
            d_weights, self.weights, -1, d_weights.dtype, grad_input=shared.d_scores
        )
        torch.bmm(shared.d_scores, qkv.k, out=d_qkv.q)
        torch.bmm(shared.d_scores_t, qkv.q, out=d_qkv.k)
        d_qkv.q_and_k.mul_(shared.turns_back)
        self.d_read.baddbmm_(d_qkv.all_t, self.y)
        by_part = torch.bmm(d_qkv.all, self.read, out=shared.by_part)
        return torch.sum(by_part, 0, out=shared.d_normed)
